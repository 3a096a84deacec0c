import LunetteSpec
import Testing

@Suite struct LaunchFailureTests {
    private func error(_ step: LaunchOpcode, _ call: String, _ errno: Int32) -> LunetteError {
        LaunchFailure(step: step, index: 3, call: call, errno: errno, path: "/run/x").error(operation: "create", target: "c", reason: "why")
    }

    @Test func aFileSystemThatCannotBeMappedIsNamedAndHasAWayOut() {
        let refusal = error(.openTree, "mount_setattr", 22)
        #expect(refusal.code == .unsupported && refusal.message == "open-tree /run/x (mount_setattr): why")
        #expect(refusal.hint?.contains("tmpfs") == true)
        #expect(error(.openTree, "mount_setattr", 1).hint == nil && error(.openTree, "open_tree", 22).hint == nil)
    }
}
