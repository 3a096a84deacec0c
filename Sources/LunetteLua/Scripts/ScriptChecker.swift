internal import LunetteAPI
package import LunetteSpec

/// Checks scripts without running them: syntax, names of API calls, literal arguments; as resident code also what only that may not do.
package enum ScriptChecker {
    package struct Problem: Sendable, Equatable {
        package var line: Int
        package var message: String
        package var hint: String?
    }

    /// One call of the API, as it is written.
    package struct Call: Sendable, Equatable {
        package var line: Int
        package var name: String
        /// What limited code needs for it, as `lunette apply --grant` takes it; nil: nothing.
        package var permission: String?
    }

    package struct Report: Sendable, Equatable {
        package var problems: [Problem]
        package var calls: [Call]
        /// What is to be granted beside what the calls need.
        package var asked: [String] = []

        /// For other programs: `{file, problems, calls, permissions}`.
        package func value(file: String) -> Value {
            [
                "file": .string(file),
                "problems": .array(
                    problems.map { problem in
                        var map: ValueMap = ["line": .int(Int64(problem.line)), "message": .string(problem.message)]
                        map["hint"] = problem.hint.map(Value.string)
                        return .map(map)
                    }),
                "calls": .array(
                    calls.map { call in
                        var map: ValueMap = ["line": .int(Int64(call.line)), "name": .string(call.name)]
                        map["permission"] = call.permission.map(Value.string)
                        return .map(map)
                    }),
                "permissions": .array(Set(calls.compactMap(\.permission) + asked).sorted().map(Value.string)),
            ]
        }
    }

    /// - Throws: `not_found` and the like when the file can't be read.
    package static func problems(path: String) throws(LunetteError) -> [Problem] { try report(path: path).problems }

    package static func problems(source: [UInt8], name: String) throws(LunetteError) -> [Problem] {
        try report(source: source, name: name).problems
    }

    /// - Parameter isResident: as code that is loaded into the engine.
    /// - Throws: `not_found` and the like when the file can't be read.
    package static func report(path: String, isResident: Bool = false) throws(LunetteError) -> Report {
        let isInput = path == "-"
        return try report(
            source: try FileTree.read(isInput ? "/dev/stdin" : path, roots: nil), name: isInput ? "stdin" : path, isResident: isResident)
    }

    package static func report(source: [UInt8], name: String, isResident: Bool = false) throws(LunetteError) -> Report {
        var options = LuaHost.Options(connector: nil, directory: "/")
        options.limits = .init(memory: memoryLimit, wallSeconds: seconds / 2, isLimited: true)
        let found: [Value]
        do throws(LunetteError) {
            let host = try LuaHost(options)
            found = try host.state.enter(
                "check",
                [
                    "source": .text(source), "name": .string("@\(name)"), "is_resident": .bool(isResident),
                    "has_globals": .bool(isResident || TestFiles.isTest(name.pathParts.last.map(String.init) ?? name)),
                ])
        } catch {
            let isMemory = error.message.contains("not enough memory")
            throw LunetteError(
                .resourceExhausted,
                "check \(displayable(name)): given up, it takes more than \(isMemory ? "\(memoryLimit >> 20) MiB" : "\(Int(seconds)) s")",
                hint: "a source of megabytes, or with a chain of a hundred thousand words, isn't read")
        }
        let problems = (found.first?.arrayValue ?? []).map { item in
            Problem(line: Int(item["line"]?.intValue ?? 0), message: item["message"]?.stringValue ?? "", hint: item["hint"]?.stringValue)
        }
        let calls = (found.dropFirst().first?.arrayValue ?? []).map { item in
            Call(
                line: Int(item["line"]?.intValue ?? 0), name: item["name"]?.stringValue ?? "", permission: item["permission"]?.stringValue)
        }
        // Of code in the engine what the operator is asked to grant, which counts methods whose object isn't known, too.
        return Report(problems: problems, calls: calls, asked: isResident ? Grant.asked(by: source) : [])
    }

    /// Seconds that a check may take: half of them the reading, as much again Lunette's own code.
    private static let seconds = 10.0
    private static let memoryLimit = 1 << 30

    /// `lunette check FILE`: prints each problem as `lunette: FILE:LINE: …`.
    /// - Returns: the exit code, 1 when there are problems.
    package static func check(path: String, isResident: Bool = false) throws(LunetteError) -> Int32 {
        let found = try report(path: path, isResident: isResident).problems
        for problem in found {
            writeError("lunette: \(path):\(problem.line): \(problem.message)\n" + (problem.hint.map { "hint: \($0)\n" } ?? ""))
        }
        return found.isEmpty ? 0 : 1
    }
}
