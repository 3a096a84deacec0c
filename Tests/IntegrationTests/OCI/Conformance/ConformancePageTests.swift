import Foundation
import LunetteTesting
import Testing

/// The table of requirements, the tests and docs/conformance.md say the same.
@Suite struct ConformancePageTests {
    @Test func everyRequirementHasATestOrAReason() throws {
        let (requirements, proofs) = (try ConformancePage.requirements(), try ConformancePage.proofs())
        #expect(Set(requirements.map(\.id)).count == requirements.count)
        let proven = Set(proofs.flatMap(\.requirements))
        #expect(proven.subtracting(requirements.map(\.id)).isEmpty, "named by a test, and not in the table")
        let missing = requirements.filter { $0.unseen == nil && !proven.contains($0.id) }.map(\.id)
        #expect(missing.isEmpty, "in the table, and without a test")
        let both = requirements.filter { $0.unseen != nil && proven.contains($0.id) }.map(\.id)
        #expect(both.isEmpty, "said to be unseen, and proven by a test")
    }

    @Test func everyTestSaysWhatItProves() throws {
        let proofs = try ConformancePage.proofs()
        #expect(proofs.count > 100)
        for proof in proofs { #expect(!proof.requirements.isEmpty, "\(proof.suite).\(proof.test)") }
        let names = proofs.map(\.test)
        #expect(Set(names).count == names.count, "the page names tests without their suite")
    }

    /// `scripts/dev/conformance` sets the variable: a folder with what the runs wrote.
    @Test func thePageHasTheseRequirementsAndTests() throws {
        if let folder = ProcessInfo.processInfo.environment["LUNETTE_CONFORMANCE_RECORD"] {
            let runs = try ["lunette-oci", "runc", "crun"].compactMap { name -> ConformancePage.Run? in
                let file = "\(folder)/\(name).xml"
                guard FileManager.default.fileExists(atPath: file) else { return nil }
                let version = try String(contentsOfFile: "\(folder)/\(name).version", encoding: .utf8).trimmingCharacters(in: .newlines)
                return ConformancePage.Run(name: name, version: version, results: try ConformancePage.results(file))
            }
            try Data(try ConformancePage.render(runs: runs).utf8).write(to: URL(fileURLWithPath: ConformancePage.path))
        }
        let page = try String(contentsOfFile: ConformancePage.path, encoding: .utf8)
        let rows = page.components(separatedBy: "\n").filter { $0.hasPrefix("| `") }.map { $0.components(separatedBy: " | ") }
        let (requirements, proofs) = (try ConformancePage.requirements(), try ConformancePage.proofs())
        let wanted = requirements.map { requirement in
            let tests = proofs.filter { $0.requirements.contains(requirement.id) }.map { "`\($0.test)`" }.joined(separator: ", ")
            return [
                "| `\(requirement.id)`", requirement.level, requirement.text, "\(requirement.unseen.map { "not seen: \($0)" } ?? tests) |",
            ]
        }
        let written = rows.map { Array($0.prefix(3)) + [$0.last ?? ""] }
        for (left, right) in zip(wanted, written) where left != right {
            Issue.record("docs/conformance.md is old (scripts/dev/conformance makes it anew): \(right) should be \(left)")
            break
        }
        #expect(wanted.count == written.count, "docs/conformance.md is old: scripts/dev/conformance makes it anew")
    }
}
