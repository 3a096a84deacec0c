import Foundation
import LunetteTesting
import Testing

/// A thousand states opened, used and closed through the bridge, under the leak sanitizer: scripts/dev/leak-states.
@Suite struct BridgeTests {
    @Test(.timeLimit(.minutes(5))) func aThousandStatesLeaveNothing() async throws {
        let project = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let done = try await Command(project.appendingPathComponent("scripts/dev/leak-states").path, "1000").run(
            expecting: nil, timeout: .seconds(240))
        #expect(done.code == 0 && done.text == "1000 states", "\(done.text)\(done.errorText)")
    }
}
