import Foundation
import LunetteSpec
import LunetteTesting

/// docs/conformance.md, made of three things: the table of requirements, the tests that say which they prove, and what runs of them came to.
enum ConformancePage {
    static let path = "\(LunetteHome.package)/docs/conformance.md"
    static let data = "\(LunetteHome.package)/Tests/Data/conformance"

    /// Something that the specification requires, in our words.
    struct Requirement: Sendable {
        /// document.section.what; never changed once it is there.
        let id: String
        let level: String
        let text: String
        /// Why no test can see it; nil when one has to.
        let unseen: String?
    }

    /// A test, and what it proves.
    struct Proof: Sendable {
        let suite: String
        let test: String
        let requirements: [String]
        /// The test passes though the requirement isn't met: it says so by `withKnownIssue`, and why.
        let hasKnownIssue: Bool
    }

    enum Result: String { case passed = "yes", failed = "**no**", skipped }

    /// One runtime's run.
    struct Run {
        let name: String
        let version: String
        /// By suite and test.
        let results: [String: Result]
    }

    static func requirements() throws -> [Requirement] {
        guard let list = try Schemas.read("\(data)/requirements.json").arrayValue else {
            throw CommandFailure("requirements.json is no list")
        }
        return try list.map { entry in
            guard let id = entry["id"]?.stringValue, let level = entry["level"]?.stringValue, let text = entry["text"]?.stringValue else {
                throw CommandFailure("\(entry) lacks id, level or text")
            }
            return Requirement(id: id, level: level, text: text, unseen: entry["unseen"]?.stringValue)
        }
    }

    /// Reads the tests' `.proves(…)` from their sources: a trait can't be asked for from outside of its test.
    static func proofs() throws -> [Proof] {
        let folder = "\(LunetteHome.package)/Tests/IntegrationTests/OCI/Conformance"
        var found: [Proof] = []
        for name in try FileManager.default.contentsOfDirectory(atPath: folder).sorted() where name.hasSuffix("ConformanceTests.swift") {
            let text = try String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8)
            let suite = (name as NSString).deletingPathExtension
            for piece in text.components(separatedBy: ".proves(").dropFirst() {
                guard let end = piece.firstIndex(of: ")") else { continue }
                let requirements = piece[..<end].components(separatedBy: "\"").enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
                guard let start = piece.range(of: "func "), let stop = piece[start.upperBound...].firstIndex(of: "(") else { continue }
                found.append(
                    Proof(
                        suite: suite, test: String(piece[start.upperBound..<stop]), requirements: requirements,
                        hasKnownIssue: piece.contains("withKnownIssue")))
            }
        }
        return found
    }

    /// Reads what `swift test --xunit-output` wrote: one element a test, with a child when it failed or was skipped.
    static func results(_ path: String) throws -> [String: Result] {
        let text = try String(contentsOfFile: path, encoding: .utf8)
        var results: [String: Result] = [:]
        for piece in text.components(separatedBy: "<testcase ").dropFirst() {
            func attribute(_ name: String) -> String {
                let parts = " \(piece)".components(separatedBy: " \(name)=\"")
                return parts.count > 1 ? String(parts[1].prefix { $0 != "\"" }) : ""
            }
            let suite = attribute("classname").components(separatedBy: ".").last ?? ""
            let test = "\(suite).\(attribute("name").prefix { $0 != "(" })"
            // A test with arguments comes once for each: it passes when all do.
            let own: Result =
                piece.contains("<failure") || piece.contains("<error") ? .failed : piece.contains("<skipped") ? .skipped : .passed
            if results[test] != .failed { results[test] = own }
        }
        return results
    }

    /// What a run says about a requirement: every test of it has to pass.
    static func result(of requirement: Requirement, proofs: [Proof], in run: Run) -> String {
        let results = proofs.compactMap { run.results["\($0.suite).\($0.test)"] }
        if results.contains(.failed) || proofs.contains(where: \.hasKnownIssue) { return Result.failed.rawValue }
        if results.contains(.passed) { return Result.passed.rawValue }
        return results.isEmpty ? "–" : Result.skipped.rawValue
    }

    static func render(runs: [Run]) throws -> String {
        let (requirements, proofs) = (try requirements(), try proofs())
        var lines: [String] = []
        var section = ""
        var counts = runs.map { _ in 0 }
        let seen = requirements.filter { $0.unseen == nil }
        for requirement in requirements {
            let document = documentOf(requirement.id)
            if document != section {
                section = document
                lines += ["", "## \(section)", ""]
                lines.append("| requirement | level | what | \(runs.map { "\($0.name) | " }.joined())test |")
                lines.append("|---|---|---|\(runs.map { _ in "---|" }.joined())---|")
            }
            let own = proofs.filter { $0.requirements.contains(requirement.id) }
            var cells = ["`\(requirement.id)`", requirement.level, requirement.text]
            for (index, run) in runs.enumerated() {
                let result = requirement.unseen == nil ? result(of: requirement, proofs: own, in: run) : "–"
                if result == Result.passed.rawValue { counts[index] += 1 }
                cells.append(result)
            }
            cells.append(requirement.unseen.map { "not seen: \($0)" } ?? own.map { "`\($0.test)`" }.joined(separator: ", "))
            lines.append("| \(cells.joined(separator: " | ")) |")
        }
        let summary = zip(runs, counts).map { "| \($0.name) | \($0.version) | \($1) of \(seen.count) |" }
        return """
            # Conformance with the OCI runtime-spec

            Made by `scripts/dev/conformance`, which runs the suites of `Tests/IntegrationTests/OCI/Conformance` and writes what came of them;
            a test holds the rows to the table and to the tests. The specification is version 1.3 (Tests/Data/README.md), in our words; levels
            are the specification's. The same tests run on runc and crun, which proves that they can pass; the versions here are
            Debian's and older than the specification, so that what 1.1 to 1.3 added (id-mapped mounts, time namespaces, scheduler, network devices,
            memory policy) fails there. What says "not seen" no test can see, for the reason given.

            | runtime | version | requirements met |
            |---|---|---|
            \(summary.joined(separator: "\n"))
            \(lines.joined(separator: "\n"))

            """
    }

    static func documentOf(_ id: String) -> String {
        let first = id.components(separatedBy: ".")[0]
        return first == "schema" ? "schema and examples" : "\(first).md"
    }
}
