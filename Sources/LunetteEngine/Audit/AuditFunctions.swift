public import LunetteAPI
import LunetteLinux
public import LunetteSpec

extension Functions {
    static let audit: [String: Function] = [
        "system.audit": .reading { engine, call, _ async throws(LunetteError) in
            var arguments = try call.arguments()
            let since = try engine.auditTime(&arguments, "since")
            let limit = try arguments.int("limit") ?? 1000
            guard (1...100_000).contains(limit) else { throw arguments.failure("limit", "is not 1 to 100000") }
            try arguments.finish()
            return .array(try await engine.audited(since: since, last: Int(limit)))
        },
        "system.follow_audit": .reading { engine, call, _ async throws(LunetteError) in
            var arguments = try call.arguments()
            let since = try engine.auditTime(&arguments, "since")
            let follows = try arguments.bool("follow") ?? true
            try arguments.finish()
            return try await engine.followAudit(since: since ?? (follows ? engine.clock.now() : 0), follows: follows, call)
        },
    ]
}

extension Engine {
    /// A unix time as it is, text as that long ago.
    fileprivate func auditTime(_ arguments: inout FieldReader, _ key: String) throws(LunetteError) -> Double? {
        guard let value = arguments.value(key) else { return nil }
        if let time = value.doubleValue { return time }
        do throws(LunetteError) { return clock.now() - (try Units.seconds(value)) } catch {
            throw arguments.failure(key, error.message, hint: error.hint)
        }
    }

    fileprivate func audited(since: Double?, last: Int) async throws(LunetteError) -> [Value] {
        let root = configuration.root
        return try await blocking { () throws(LunetteError) in
            try atBorder("read the audit log") { () throws(SystemCallError) in
                var reader = try AuditTrail(root: root)
                var found: [Value] = []
                while true {
                    let entries = try reader.next()
                    if entries.isEmpty { return Array(found.suffix(last)) }
                    found += entries.filter { ($0["time"]?.doubleValue ?? 0) >= since ?? 0 }
                    if found.count > 2 * last + 1000 { found.removeFirst(found.count - last) }
                }
            }
        }
    }

    fileprivate func followAudit(since: Double, follows: Bool, _ call: Call) async throws(LunetteError) -> Value {
        let root = configuration.root
        var reader = try await blocking { () throws(LunetteError) in
            try atBorder("read the audit log") { () throws(SystemCallError) in try AuditTrail(root: root) }
        }
        while true {
            try call.checkCancellation()
            let (next, entries) = try await blocking { [reader] () throws(LunetteError) in
                var reader = reader
                let entries = try atBorder("read the audit log") { () throws(SystemCallError) in try reader.next() }
                return (reader, entries)
            }
            reader = next
            for entry in entries where (entry["time"]?.doubleValue ?? 0) >= since { try await call.emit(entry) }
            if entries.isEmpty {
                if !follows || isClosing { return .null }
                do { try await clock.sleep(0.2) } catch { continue }
            }
        }
    }

    /// Writes down what became of a call, when that is worth a line.
    func audit(_ request: APIRequest, began: Double, _ result: Result<Value, LunetteError>) async {
        var (isDenial, isFailure) = (false, false)
        if case .failure(let error) = result { (isDenial, isFailure) = (error.code == .denied, true) }
        // Who made a container with --rm asks to be told when it has gone.
        if case .failure(let error) = result, error.code == .notFound, request.function == "container.remove" { return }
        guard isDenial || AuditEntry.isKept(request) else { return }
        var entry = AuditEntry.value(request, began: began, seconds: clock.now() - began, result: result)
        // By its name, as in the line of its making, however the call named it.
        if let id = request.arguments["container"].flatMap(Handle.word), Identifier.isContainer(id), entry["target"]?.stringValue == id {
            let name = await state.containers[id]?.name
            entry = entry.with("target", .string(name ?? String(id.prefix(12))))
        }
        guard request.actor.socket != nil else { return await auditLog.write(entry) }
        if isFailure {
            await guestLog.write(failure: entry, of: String(request.actor.uid))
        } else {
            await guestLog.write(entry)
        }
    }

    /// Writes down that somebody wasn't let in.
    public func audit(refused actor: Actor, _ error: LunetteError) async {
        let request = APIRequest(id: RequestID.fresh(), function: "connect", arguments: [:], actor: actor)
        await auditLog.write(AuditEntry.value(request, began: clock.now(), seconds: 0, result: .failure(error)))
    }
}
