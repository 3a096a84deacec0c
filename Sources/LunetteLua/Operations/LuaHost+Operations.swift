internal import Glibc
internal import LunetteAPI
internal import LunetteSpec

extension LuaHost {
    /// Performs one operation that the Lua stdlib asks for.
    func perform(_ operation: String, _ arguments: Arguments) throws(LunetteError) -> LuaState.Answer {
        if operation.hasPrefix("test."), let testing { return try testing.perform(operation, arguments, self) }
        if let watched = watched(operation, arguments) { return watched }
        switch operation {
        case "api": return try startCall(arguments)
        case "stream":
            if arguments.text(1) == "process.run" { return try runProcess(arguments[2], stream: arguments[0].intValue ?? 0) }
            return try startStream(arguments)
        case "credit":
            (inFlight[arguments[0].intValue ?? 0] as? StreamControl)?.add(Int(arguments[1].intValue ?? 0))
            return .results([])
        case "cancel":
            cancel(arguments[0].intValue ?? 0)
            return .results([])
        case "sleep": return .await(addTimer(try seconds(arguments[0], "task.sleep")))
        case "cron": return .results([try nextDue(arguments), .bool(options.time != nil)])
        case "missing": return .results([Missing.function(arguments.text(0), arguments.text(1), isMethod: arguments[2].boolValue == true)])
        case "noun": return .results([describe(arguments.text(0))])
        case "nearest":
            let words = arguments[1].arrayValue?.compactMap(\.stringValue) ?? []
            return .results([nearest(to: arguments.text(0), in: words).map(Value.string) ?? .null])
        case "bytes": return .results([.int(try Units.bytes(arguments[0]))])
        case "seconds":
            // With what the call is called, where the caller has no place for it.
            guard let what = arguments[1].stringValue else { return .results([.double(try Units.seconds(arguments[0]))]) }
            return .results([.double(try seconds(arguments[0], what))])
        case "unique": return .results([.string(randomIdentifier(bytes: 8))])
        case "json.encode": return .results([.string(JSON.encode(arguments[0].sortedByKey, pretty: arguments[1].boolValue == true))])
        case "json.decode":
            let text = arguments[0].byteString ?? []
            return .results([.bytes(MessagePack.encode(try JSON.decode(text, source: "json.decode")))])
        case "log":
            log(arguments.text(0), arguments.text(1), arguments[2].mapValue ?? [:])
            return .results([])
        case "finished":
            finish(with: arguments[0])
            return .results([])
        case "handlers":
            handlerCount = Int(arguments[0].intValue ?? 0)
            return .results([])
        case "stay":
            // Its handlers were never offered to an engine: nothing would ever come.
            isStaying = dryRun == nil
            if isStaying { program?.stays() }
            return .results([.bool(isStaying)])
        case "program.write":
            program?.write(arguments[0].byteString ?? [], toErrors: arguments[1].boolValue == true)
            return .results([])
        case "reply":
            reply(arguments)
            return .results([])
        case "ended":
            endHandlers(arguments)
            return .results([])
        case "repl.show":
            onShow?(true, arguments.text(0))
            return .results([])
        case "repl.note":
            // A line of its own above the prompt, when there is one; else the caller prints it.
            guard isPrompting, let onShow else { return .results([false]) }
            onShow(false, arguments.text(0))
            return .results([true])
        case "completed":
            completions.removeValue(forKey: arguments[0].intValue ?? 0)?(arguments[1])
            return .results([])
        case "prompt.output":
            outputs[arguments[0].intValue ?? 0]?(arguments[1])
            return .results([])
        case "as_reader":
            // What a session that only reads asks of a state that may do more.
            asksAsReader = true
            defer { asksAsReader = false }
            return try perform(arguments.text(0), arguments.dropFirst())
        case "check.result": return .results([checkResult(arguments.text(0))])
        case "check.event": return .results([checkEvent(arguments[0])])
        case "check.call": return .results([checkCall(arguments[0])])
        case "sandbox.run": return try runSandbox(arguments[0])
        case "process.run": return try runProcess(arguments[0], stream: nil)
        case "http.get", "http.request": return try requestHTTP(operation, arguments[0])
        case "store": return .results([.string(options.store ?? "user/\(getuid())")])
        case "module": return .results([try moduleSource(arguments.text(0))])
        default:
            if operation.hasPrefix("complete.") { return .results([try completionAnswer(operation, arguments)]) }
            if operation.hasPrefix("fs.") { return try fileOperation(operation, arguments[0].arrayValue ?? []) }
            throw LunetteError(.internal, "the Lua host has no operation \(operation)")
        }
    }

    private func seconds(_ value: Value, _ what: String) throws(LunetteError) -> Double {
        do {
            return try Units.seconds(value)
        } catch {
            throw LunetteError(.invalidArgument, "\(what): \(error.message)", operation: what, hint: error.hint)
        }
    }

    /// `cron`, expression, unix seconds, zone → when it is due next, or null.
    private func nextDue(_ arguments: Arguments) throws(LunetteError) -> Value {
        let (text, name) = (arguments.text(0), arguments.text(2))
        let from = arguments[1].doubleValue ?? 0
        guard from.isFinite, abs(from) <= Units.latestTime else {
            throw LunetteError(.invalidArgument, "\(from) is no unix time in seconds", path: "after")
        }
        let schedule: CronSchedule
        if let known = schedules[text] { schedule = known } else { schedule = try CronSchedule(text) }
        let zone: TimeZoneRules
        if let known = zones[name] { zone = known } else { zone = try TimeZoneRules.named(name) }
        // Those of a script are few; what code makes up is not kept for ever.
        if schedules.count < 64 { schedules[text] = schedule }
        if zones.count < 16 { zones[name] = zone }
        return schedule.next(after: from, in: zone).map(Value.int) ?? .null
    }

    private func cancel(_ token: Int64) {
        removeTimer(token)
        inFlight.removeValue(forKey: token)?.cancel()
    }

    /// What Lua needs to make a noun's functions and methods.
    private func describe(_ noun: String) -> Value {
        let functions = APIRegistry.functions(of: noun)
        if functions.isEmpty { return .null }
        return .array(
            functions.filter { $0.place == .engine }.map { function in
                let positional = function.lua.positional.map { name -> Value in
                    ["name": .string(name), "takes_table": .bool(function.argument(name).map { $0.type.takesTable } ?? false)]
                }
                var map: ValueMap = [
                    "name": .string(function.name), "verb": .string(function.verb), "positional": .array(positional),
                    "is_hidden": .bool(function.lua.isHidden), "is_method": .bool(function.lua.methodOf == noun),
                    "iterates": .bool(function.lua.iterates),
                    "callbacks": .array(function.arguments.filter { $0.type.takesFunction }.map { .string($0.name) }),
                ]
                map["rest"] = function.lua.rest.map(Value.string)
                if function.result == .nothing { map["returns_nothing"] = true }
                map["result"] = function.result.handleKind.map(Value.string)
                return .map(map)
            })
    }

    private func log(_ level: String, _ message: String, _ fields: ValueMap) {
        let fields = fields.sortedByKey
        guard let lines = logAllowance?.admit(message, fields, now: monotonicNow()) else { return logLine(level, message, fields) }
        for line in lines { logLine(level, line.message, line.fields) }
    }

    private func logLine(_ level: String, _ message: String, _ fields: ValueMap) {
        if let onLog { return onLog(level, message, fields) }
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        var parts = tm()
        gmtime_r(&now.tv_sec, &parts)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let time =
            "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
        var line = "\(time) \(level) \(message)"
        for (key, value) in fields {
            line += " \(key)=" + (value.stringValue.map { $0.contains(" ") ? JSON.encode(value) : $0 } ?? JSON.encode(value))
        }
        if isPrompting, let onShow { return onShow(false, line) }
        if let program { return program.write(Array("\(line)\n".utf8), toErrors: true) }
        writeError(line + "\n")
    }
}

extension APIType {
    /// Whether a table given for it is the value, not the options after it.
    var takesTable: Bool {
        switch self {
        case .list, .map, .record, .any: true
        case .union(let types): types.contains(where: \.takesTable)
        default: false
        }
    }

    /// `handle`, `handles` or `tables` of them when results are to be made into handles.
    var handleKind: String? {
        switch self {
        case .handle: "handle"
        case .list(.handle): "handles"
        case .record("Applied"): "tables"
        case .union(let types): types.lazy.compactMap(\.handleKind).first
        default: nil
        }
    }
}

/// Random bytes in hexadecimal: request ids, subscription ids.
func randomIdentifier(bytes: Int) -> String {
    var generator = SystemRandomNumberGenerator()
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for _ in 0..<bytes {
        let byte = UInt8.random(in: 0...255, using: &generator)
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}
