internal import LunetteAPI
internal import LunetteLinux
internal import LunetteSpec
internal import Synchronization

/// Gathers which lines of the code under test ran, from the states that ran it.
final class Coverage: Sendable {
    private struct State {
        var counts: [String: [Int: Int]] = [:]
        /// Paths of chunks that are named otherwise.
        var paths: [String: String] = [:]
    }
    private let state = Mutex(State())

    func add(_ lua: LuaState) {
        var counts: [String: [Int: Int]] = [:]
        lua.lines { file, line, count in counts[file, default: [:]][line, default: 0] += count }
        state.withLock { state in
            for (file, lines) in counts {
                for (line, count) in lines { state.counts[file, default: [:]][line, default: 0] += count }
            }
        }
    }

    func know(_ chunk: String, as path: String) { state.withLock { $0.paths[chunk] = path } }

    /// One file's lines.
    struct File: Sendable {
        /// As it was named.
        var name: String
        var path: String
        /// Each line that can run, and how often it did.
        var lines: [(line: Int, count: Int)]
        var ran: Int { lines.count { $0.count > 0 } }
    }

    /// By name; test files are left out, and what can't be read any more.
    /// - Throws: when no state can be opened.
    func report() throws(LunetteError) -> [File] {
        let (counts, paths) = state.withLock { ($0.counts, $0.paths) }
        let reader = try LuaState(limits: .init())
        reader.onCall = { _ in .failure(LunetteError(.internal, "nothing is called here")) }
        let directory = ScriptRunner.workingDirectory()
        var files: [String: File] = [:]
        for (name, ran) in counts {
            let path = APIRegistry.absolutePath(paths[name] ?? name, directory: directory)
            guard !TestFiles.isTest(path.pathParts.last.map(String.init) ?? "") else { continue }
            // What was a temporary file of a test is gone with it.
            guard let source = try? FileTree.read(path, roots: nil) else { continue }
            let lines = try reader.enter("lines_of", ["source": .text(source), "name": .string("@\(name)")]).first?.arrayValue ?? []
            let before = Dictionary(uniqueKeysWithValues: (files[path]?.lines ?? []).map { ($0.line, $0.count) })
            let shown = shortened(paths[name] ?? name, directory)
            files[path] = File(
                name: shown, path: path,
                lines: lines.compactMap(\.intValue).map { (Int($0), (ran[Int($0)] ?? 0) + (before[Int($0)] ?? 0)) })
        }
        return files.values.sorted { $0.name < $1.name }
    }

    private func shortened(_ path: String, _ directory: String) -> String {
        path.hasPrefix(directory + "/") ? String(path.dropFirst(directory.count + 1)) : path
    }
}

/// Writes coverage for people and for other tools.
enum CoverageReport {
    /// A row a file: lines that ran, of how many, and those that didn't.
    static func table(_ files: [Coverage.File]) -> String {
        let all = files.reduce(0) { $0 + $1.lines.count }
        let ran = files.reduce(0) { $0 + $1.ran }
        let width = max(10, files.map(\.name.count).max() ?? 0)
        func row(_ name: String, _ ran: Int, _ all: Int, _ rest: String) -> String {
            let share = all == 0 ? "–" : "\(ran * 100 / all) %"
            let figures = "\(ran)/\(all)"
            let line =
                name + String(repeating: " ", count: max(0, width - name.count) + 2)
                + String(repeating: " ", count: max(0, 9 - figures.count)) + figures
                + String(repeating: " ", count: max(0, 7 - share.count)) + share + (rest.isEmpty ? "" : "   " + rest)
            return line + "\n"
        }
        var text = "\n"
        for file in files { text += row(displayable(file.name, limit: 400), file.ran, file.lines.count, missed(file)) }
        return text + row("all", ran, all, "")
    }

    /// `not run: 3, 7–9`.
    private static func missed(_ file: Coverage.File) -> String {
        var ranges: [(first: Int, last: Int)] = []
        var isOpen = false
        for (line, count) in file.lines {
            if count > 0 {
                isOpen = false
            } else if isOpen {
                ranges[ranges.count - 1].last = line
            } else {
                ranges.append((line, line))
                isOpen = true
            }
        }
        if ranges.isEmpty { return "" }
        let shown = ranges.prefix(12).map { $0.first == $0.last ? "\($0.first)" : "\($0.first)–\($0.last)" }
        return "not run: " + shown.joined(separator: ", ") + (ranges.count > 12 ? ", …" : "")
    }

    /// lcov's tracefile (geninfo(1)).
    static func lcov(_ files: [Coverage.File]) -> String {
        var text = ""
        for file in files {
            text += "TN:\nSF:\(file.path)\n"
            for (line, count) in file.lines { text += "DA:\(line),\(count)\n" }
            text += "LF:\(file.lines.count)\nLH:\(file.ran)\nend_of_record\n"
        }
        return text
    }
}

extension TestSetting {
    /// Tells what is for a person: beside the report where that is for a program.
    func tell(_ text: String) {
        switch format {
        case .human: write(text)
        case .tap: write(text.split(separator: "\n").map { "# \($0)\n" }.joined())
        case .junit, .json: writeError(text)
        }
    }
}
