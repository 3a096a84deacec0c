internal import Glibc
internal import LunetteLinux
internal import LunetteSpec

/// Finds test files.
enum TestFiles {
    /// A file stands for itself; a folder for its `*_test.lua` and `test.lua`, also in folders below, sorted.
    /// - Throws: `not_found` for a path that isn't there.
    static func find(_ paths: [String]) throws(LunetteError) -> [String] {
        var found: [String] = []
        for path in paths {
            if try isFolder(path) {
                var inside: [String] = []
                try search(path.hasSuffix("/") && path.utf8.count > 1 ? String(path.dropLast()) : path, &inside, depth: 0)
                found += inside.sorted()
            } else {
                found.append(path)
            }
        }
        var seen: Set<String> = []
        return found.filter { seen.insert($0).inserted }
    }

    static func isTest(_ name: String) -> Bool { name == "test.lua" || name.hasSuffix("_test.lua") }

    private static func isFolder(_ path: String) throws(LunetteError) -> Bool {
        do throws(SystemCallError) { return try fileStatus(-100, path, follow: true, label: path).kind == .directory } catch {
            guard error.errno == ErrorNumber.noEntry else { throw error.lunette }
            throw LunetteError(.notFound, "run the tests in \(displayable(path)): there is no such file or folder", target: path)
        }
    }

    /// Links to folders aren't followed: they may lead round in a circle.
    private static func search(_ folder: String, _ found: inout [String], depth: Int) throws(LunetteError) {
        guard depth < 32 else { return }
        let names = try atBorder("look for tests in \(displayable(folder))") { () throws(SystemCallError) in try Directory(folder).entries()
        }
        for name in names where !name.hasPrefix(".") {
            let path = folder == "/" ? "/\(name)" : "\(folder)/\(name)"
            let kind = try atBorder("look for tests in \(displayable(folder))") { () throws(SystemCallError) in
                try fileStatus(-100, path, follow: false, label: path).kind
            }
            if kind == .directory { try search(path, &found, depth: depth + 1) } else if isTest(name) { found.append(path) }
        }
    }
}
