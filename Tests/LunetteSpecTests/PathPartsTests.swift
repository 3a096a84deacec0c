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

    @Test func whatLiesInAFolderIsToldByBytes() {
        #expect(ContainerPath.isWithin("/a/\u{301}b", "/a") && ContainerPath.isWithin("/\u{301}b", "/"))
        #expect(!ContainerPath.isWithin("/a\u{301}/b", "/a") && !ContainerPath.isWithin("/e\u{301}/b", "/\u{e9}"))
        #expect(!ContainerPath.isWithin("/ab", "/a") && ContainerPath.isWithin("/a", "/a"))
    }

    @Test func textIsTakenApartByBytes() throws {
        #expect("a\r\nb\n\nc\r".byteLines == ["a", "b", "", "c"] && "".byteLines == [""])
        #expect("a:\u{301}b::".fields(at: ":") == ["a", "\u{301}b", "", ""])
        let (name, value) = try #require("A=\u{301}b=c".cut(at: "="))
        #expect(name == "A" && value == "\u{301}b=c" && "A".cut(at: "=") == nil)
    }

    @Test func twoSpellingsOfALetterAreTwoPaths() {
        var table = PathTable<Int>()
        table["/\u{e9}"] = 1
        table["/e\u{301}"] = 2
        #expect(table["/\u{e9}"] == 1 && table["/e\u{301}"] == 2 && table.values.count == 2)
    }
}
