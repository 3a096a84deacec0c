import LunetteSpec
import Testing

/// Paths are what the kernel makes of them, not what Swift's characters look like.
struct PathPartsTests {
    @Test func aSlashIsASlashWhateverFollows() {
        #expect("/a/../\u{301}b".pathParts == ["a", "..", "\u{301}b"])
        #expect("a//b/".pathParts == ["a", "b"])
        #expect("/\u{301}".hasSlash && !"a".hasSlash && "x/\u{200d}y".dropFirst().hasSlash)
    }

    @Test func aPathThatLeadsUpwardsIsRefusedInAnyDisguise() throws {
        for path in ["/a/../\u{301}b", "/../\u{fe0f}", "/a/b/../\u{20dd}x/y"] {
            #expect(throws: LunetteError.self, "\(path)") { _ = try ContainerPath.normalise(path) }
        }
        #expect(try ContainerPath.normalise("/a/\u{301}b/.//c") == "/a/\u{301}b/c")
    }
}
