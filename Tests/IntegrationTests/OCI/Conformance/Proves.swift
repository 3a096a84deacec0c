import LunetteTesting
import Testing

/// Names the requirements of Tests/Data/conformance/requirements.json that a test proves.
///
/// It changes nothing about the run: `ConformancePage` reads it from the source, as literals, and docs/conformance.md is made from that.
struct Proves: TestTrait {
    let requirements: [String]
}

extension Trait where Self == Proves {
    static func proves(_ requirements: String...) -> Self { Proves(requirements: requirements) }
}

extension Trait where Self == ConditionTrait {
    /// What every test here needs: root, and the runtime that it is about.
    static var runtimeUnderTest: Self {
        let runtime = OCIRuntime.underTest
        let isRoot = Requirement.root.isMet
        return .enabled(if: isRoot && runtime.isThere, Comment(rawValue: isRoot ? "requires \(runtime.path)" : "requires root"))
    }
}
