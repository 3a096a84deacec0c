internal import LunetteSpec

/// Tells what became of the tests, as they end and at the end of all.
protocol TestReport: AnyObject {
    func add(_ result: TestResult)
    func finish(seconds: Double)
}

extension TestSetting {
    func makeReport() -> any TestReport {
        switch format {
        case .human: HumanReport(hasColour: hasColour, write: write)
        case .tap: TAPReport(write: write)
        case .junit: JUnitReport(write: write)
        case .json: JSONReport(write: write)
        }
    }
}

/// How many there were of each.
struct TestCount {
    var passed = 0
    var failed = 0
    var skipped = 0
    var all: Int { passed + failed + skipped }

    mutating func add(_ status: TestResult.Status) {
        switch status {
        case .passed: passed += 1
        case .failed: failed += 1
        case .skipped: skipped += 1
        }
    }
}

/// Seconds as a person reads them.
private func readable(_ seconds: Double) -> String {
    if seconds < 1 { return "\(Int((seconds * 1000).rounded())) ms" }
    return "\(Int(seconds)).\(Int((seconds * 100).rounded()) % 100 / 10)\(Int((seconds * 100).rounded()) % 10) s"
}

/// For a person: groups, marks, differences; colour on terminals.
final class HumanReport: TestReport {
    private let write: @Sendable (String) -> Void
    private let hasColour: Bool
    private var count = TestCount()
    private var file: String?
    private var groups: [String] = []

    init(hasColour: Bool, write: @escaping @Sendable (String) -> Void) {
        self.hasColour = hasColour
        self.write = write
    }

    private enum Colour: String { case red = "31", green = "32", yellow = "33", dim = "2", bold = "1" }

    private func paint(_ text: String, _ colour: Colour) -> String {
        hasColour ? "\u{1b}[\(colour.rawValue)m\(text)\u{1b}[0m" : text
    }

    func add(_ result: TestResult) {
        count.add(result.status)
        if file != result.file {
            write((file == nil ? "" : "\n") + paint(displayable(result.file, limit: 400), .bold) + "\n")
            file = result.file
            groups = []
        }
        let around = Array(result.names.dropLast())
        let same = zip(around, groups).prefix { $0 == $1 }.count
        for (depth, name) in around.enumerated() where depth >= same { write(indent(depth) + displayable(name, limit: 200) + "\n") }
        groups = around
        let name = displayable(result.names.last ?? "", limit: 200)
        switch result.status {
        case .passed:
            let time = result.seconds > 0.1 ? paint(" (\(readable(result.seconds)))", .dim) : ""
            write(indent(around.count) + paint("✓", .green) + " \(name)\(time)\n")
        case .skipped:
            write(indent(around.count) + paint("– \(name) (skipped: \(displayable(result.reason ?? "", limit: 200)))", .yellow) + "\n")
        case .failed:
            write(indent(around.count) + paint("✗ \(name)", .red) + "\n")
            for failure in result.failures { explain(failure, indent(around.count) + "    ") }
            for line in result.log { write(indent(around.count) + "    " + paint("log: \(displayable(line, limit: 400))", .dim) + "\n") }
        }
    }

    private func indent(_ depth: Int) -> String { String(repeating: "  ", count: depth + 1) }

    private func explain(_ failure: TestFailure, _ margin: String) {
        for line in failure.message.split(separator: "\n", omittingEmptySubsequences: false) {
            write(margin + displayable(String(line), limit: 2000) + "\n")
        }
        for line in failure.diff {
            let text = displayable(line, limit: 400)
            write(margin + "  " + (line.hasPrefix("-") ? paint(text, .red) : line.hasPrefix("+") ? paint(text, .green) : text) + "\n")
        }
        if let hint = failure.hint { write(margin + "hint: " + displayable(hint, limit: 400) + "\n") }
        if let place = failure.place { write(margin + paint("at \(displayable(place, limit: 400))", .dim) + "\n") }
    }

    func finish(seconds: Double) {
        var parts = [paint("\(count.passed) passed", count.failed == 0 && count.passed > 0 ? .green : .bold)]
        if count.failed > 0 { parts.append(paint("\(count.failed) failed", .red)) }
        if count.skipped > 0 { parts.append(paint("\(count.skipped) skipped", .yellow)) }
        write((count.all == 0 ? "" : "\n") + parts.joined(separator: ", ") + " in \(readable(seconds))\n")
    }
}

/// The Test Anything Protocol, version 13 (Perl's prove knows no later one), with a YAML block for what failed.
final class TAPReport: TestReport {
    private let write: @Sendable (String) -> Void
    private var number = 0

    init(write: @escaping @Sendable (String) -> Void) {
        self.write = write
        write("TAP version 13\n")
    }

    func add(_ result: TestResult) {
        number += 1
        let name = escaped(displayable("\(result.file): \(result.name)", limit: 600))
        switch result.status {
        case .passed: write("ok \(number) - \(name)\n")
        case .skipped: write("ok \(number) - \(name) # SKIP \(escaped(displayable(result.reason ?? "", limit: 400)))\n")
        case .failed:
            write("not ok \(number) - \(name)\n  ---\n")
            for (index, failure) in result.failures.enumerated() {
                let suffix = index == 0 ? "" : "_\(index + 1)"
                // Text in JSON's quotes is YAML's double-quoted text.
                write("  message\(suffix): \(JSON.encode(.string(failure.message)))\n")
                if let place = failure.place { write("  at\(suffix): \(JSON.encode(.string(place)))\n") }
                guard !failure.diff.isEmpty else { continue }
                write("  diff\(suffix): |\n")
                for line in failure.diff { write("    \(displayable(line, limit: 1000))\n") }
            }
            write("  ...\n")
        }
    }

    /// A `#` would begin a directive.
    private func escaped(_ text: String) -> String { text.replacing("\\", with: "\\\\").replacing("#", with: "\\#") }

    func finish(seconds: Double) { write("1..\(number)\n") }
}

/// JUnit's XML, as CI servers read it: one suite a file.
final class JUnitReport: TestReport {
    private let write: @Sendable (String) -> Void
    private var results: [TestResult] = []

    init(write: @escaping @Sendable (String) -> Void) { self.write = write }

    func add(_ result: TestResult) { results.append(result) }

    func finish(seconds: Double) {
        var files: [String] = []
        for result in results where !files.contains(result.file) { files.append(result.file) }
        var text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        text += "<testsuites \(figures(results)) time=\"\(decimal(seconds))\">\n"
        for file in files {
            let own = results.filter { $0.file == file }
            let time = own.reduce(0) { $0 + $1.seconds }
            text += "  <testsuite name=\(quoted(file)) \(figures(own)) time=\"\(decimal(time))\">\n"
            for result in own { text += testCase(result) }
            text += "  </testsuite>\n"
        }
        write(text + "</testsuites>\n")
    }

    private func figures(_ results: [TestResult]) -> String {
        var count = TestCount()
        for result in results { count.add(result.status) }
        return "tests=\"\(count.all)\" failures=\"\(count.failed)\" errors=\"0\" skipped=\"\(count.skipped)\""
    }

    private func testCase(_ result: TestResult) -> String {
        let group = ([result.file] + result.names.dropLast()).joined(separator: " › ")
        let head =
            "    <testcase classname=\(quoted(group)) name=\(quoted(result.names.last ?? "")) file=\(quoted(result.file)) "
            + "time=\"\(decimal(result.seconds))\""
        switch result.status {
        case .passed: return head + "/>\n"
        case .skipped: return head + ">\n      <skipped message=\(quoted(result.reason ?? ""))/>\n    </testcase>\n"
        case .failed:
            let bodies = result.failures.map { failure in
                let lines = [failure.message] + failure.diff + (failure.place.map { ["at \($0)"] } ?? [])
                return "      <failure message=\(quoted(failure.message))>\(escaped(lines.joined(separator: "\n")))</failure>\n"
            }
            return head + ">\n" + bodies.joined() + "    </testcase>\n"
        }
    }

    private func decimal(_ seconds: Double) -> String {
        let thousandths = Int((max(seconds, 0) * 1000).rounded())
        let digits = String(thousandths % 1000)
        return "\(thousandths / 1000)." + String(repeating: "0", count: 3 - digits.count) + digits
    }

    private func quoted(_ text: String) -> String { "\"" + escaped(text).replacing("\n", with: "&#10;") + "\"" }

    /// What XML 1.0 can't hold at all is left out (its Char production).
    private func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "\n", "\t": result.unicodeScalars.append(scalar)
            default:
                if scalar.value >= 0x20, scalar.value != 0xfffe, scalar.value != 0xffff { result.unicodeScalars.append(scalar) }
            }
        }
        return result
    }
}

/// One object a test and a line, then one of the figures.
final class JSONReport: TestReport {
    private let write: @Sendable (String) -> Void
    private var count = TestCount()

    init(write: @escaping @Sendable (String) -> Void) { self.write = write }

    func add(_ result: TestResult) {
        count.add(result.status)
        var map: ValueMap = [
            "file": .string(result.file), "names": .array(result.names.map(Value.string)), "status": .string(result.status.rawValue),
            "seconds": .double(result.seconds),
        ]
        map["reason"] = result.reason.map(Value.string)
        if !result.failures.isEmpty {
            map["failures"] = .array(
                result.failures.map { failure in
                    var fields: ValueMap = ["message": .string(failure.message), "diff": .array(failure.diff.map(Value.string))]
                    fields["place"] = failure.place.map(Value.string)
                    fields["hint"] = failure.hint.map(Value.string)
                    return .map(fields)
                })
        }
        write(JSON.encode(.map(map)) + "\n")
    }

    func finish(seconds: Double) {
        write(
            JSON.encode([
                "passed": .int(Int64(count.passed)), "failed": .int(Int64(count.failed)), "skipped": .int(Int64(count.skipped)),
                "seconds": .double(seconds),
            ]) + "\n")
    }
}
