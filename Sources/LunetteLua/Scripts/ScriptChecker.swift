internal import LunetteAPI
package import LunetteSpec

/// Checks scripts without running them: syntax, names of API calls, literal arguments.
package enum ScriptChecker {
    package struct Problem: Sendable, Equatable {
        package var line: Int
        package var message: String
        package var hint: String?
    }

    /// - Throws: `not_found` and the like when the file can't be read.
    package static func problems(path: String) throws(LunetteError) -> [Problem] {
        try problems(source: try FileTree.read(path, roots: nil), name: path)
    }

    package static func problems(source: [UInt8], name: String) throws(LunetteError) -> [Problem] {
        let host = try LuaHost(LuaHost.Options(connector: nil, directory: "/"))
        let found = try host.state.enter("check", ["source": .text(source), "name": .string("@\(name)")])
        return (found.first?.arrayValue ?? []).map { item in
            Problem(line: Int(item["line"]?.intValue ?? 0), message: item["message"]?.stringValue ?? "", hint: item["hint"]?.stringValue)
        }
    }

    /// `lunette check FILE`: prints each problem as `lunette: FILE:LINE: …`.
    /// - Returns: the exit code, 1 when there are problems.
    package static func check(path: String) throws(LunetteError) -> Int32 {
        let found = try problems(path: path)
        for problem in found {
            writeError("lunette: \(path):\(problem.line): \(problem.message)\n" + (problem.hint.map { "hint: \($0)\n" } ?? ""))
        }
        return found.isEmpty ? 0 : 1
    }
}
