import Foundation
import LunetteTesting
import Testing

/// docs/security.md says where each attack is tested, and by a * in which tests it is seen to work without the defence.
@Suite struct AttackTableTests {
    private let table: [AttackRow]
    private let functions: [TestFunction]

    init() throws {
        let document = try String(contentsOfFile: "\(LunetteHome.package)/docs/security.md", encoding: .utf8)
        table = try #require(document.components(separatedBy: "| | attack |").last).components(separatedBy: "\n").compactMap(AttackRow.init)
        let sources = try #require(FileManager.default.enumerator(atPath: "\(LunetteHome.package)/Tests")).compactMap { $0 as? String }
        functions = try sources.filter { $0.hasSuffix(".swift") }.flatMap { path in
            TestFunction.all(in: try String(contentsOfFile: "\(LunetteHome.package)/Tests/\(path)", encoding: .utf8), file: path)
        }
    }

    /// A test that was renamed or removed must not stay in the table; in its last column nothing but tests and suites stands in backticks.
    @Test func theTableOfAttacksNamesTestsThatExist() {
        let files = Set(functions.map(\.suite))
        let names = table.flatMap(\.names)
        #expect(names.count > 150)
        for name in names {
            #expect(!functions(of: name).isEmpty || files.contains(name.text), "row \(name.row): \(name.text) is no test")
        }
    }

    /// A mark can't outlive its control, nor a control lack its mark.
    @Test func aMarkStandsWhereTheAttackIsSeenToWork() {
        let names = table.flatMap(\.names)
        #expect(names.filter(\.isMarked).count > 60)
        for name in names {
            for function in functions(of: name) {
                #expect(
                    function.hasControl == name.isMarked,
                    "row \(name.row): \(function.suite).\(function.name) has \(function.hasControl ? "a" : "no") control (undefended) and \(name.isMarked ? "a" : "no") *"
                )
            }
        }
    }

    /// What races are run by holds the control of those that race.
    @Test func racesAreLostByWhoeverLooksFirst() throws {
        for (helper, call) in [("lose", "undefended("), ("race", "lose("), ("racing", "lose(")] {
            let bodies = functions.filter { $0.name == helper }.map(\.body)
            #expect(bodies.count == 1 && bodies[0].contains(call), "\(helper) doesn't call \(call)…)")
        }
    }

    /// The tests of a name; of all suites of that name's tests, or of the one that it says.
    private func functions(of name: AttackRow.Name) -> [TestFunction] {
        let words = name.text.split(separator: ".").map(String.init)
        return functions.filter { function in
            words.count == 2 ? function.suite == words[0] && function.name == words[1] : function.name == words[0]
        }
    }
}

/// A line of the table.
private struct AttackRow {
    struct Name {
        let row: String
        let text: String
        let isMarked: Bool
    }

    let names: [Name]

    init?(_ line: String) {
        let cells = line.components(separatedBy: " | ")
        guard line.hasPrefix("| "), cells.count == 3 else { return nil }
        let parts = cells[2].components(separatedBy: "`")
        names = parts.indices.filter { $0 % 2 == 1 }.map { index in
            Name(
                row: String(cells[0].dropFirst(2)), text: parts[index], isMarked: index + 1 < parts.count && parts[index + 1].hasPrefix("*")
            )
        }
    }
}

/// A function of a test's source, from its first line to its last.
private struct TestFunction {
    let suite: String
    let name: String
    let body: String

    var hasControl: Bool {
        ["undefended(", " race(", ".racing(", ".lose("].contains { body.contains($0) }
    }

    /// Relies on scripts/dev/format: a function ends at the brace that stands below its own beginning.
    static func all(in source: String, file: String) -> [TestFunction] {
        let suite = ((file as NSString).lastPathComponent as NSString).deletingPathExtension
        let lines = source.components(separatedBy: "\n")
        return lines.indices.compactMap { index in
            let line = lines[index]
            guard let start = line.range(of: "func "), let end = line[start.upperBound...].firstIndex(of: "("), !isComment(line) else {
                return nil
            }
            let indent = line.prefix { $0 == " " }
            let isOneLine = line.hasSuffix("}")
            let last = isOneLine ? index : lines[index...].firstIndex { $0 == indent + "}" } ?? index
            return TestFunction(
                suite: suite, name: String(line[start.upperBound..<end]),
                body: lines[index...last].dropFirst(isOneLine ? 0 : 1).joined(separator: "\n"))
        }
    }

    private static func isComment(_ line: String) -> Bool { line.drop { $0 == " " }.hasPrefix("//") }
}
