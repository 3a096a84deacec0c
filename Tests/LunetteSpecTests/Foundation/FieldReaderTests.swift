import LunetteSpec
import Testing

@Suite struct FieldReaderTests {
    @Test func unknownFieldsNameTheNearestKnownOne() throws {
        var reader = try FieldReader(["memry": 1], path: "resources")
        _ = reader.value("memory")
        _ = reader.value("pids")
        let error = failure { () throws(LunetteError) in try reader.finish() }
        #expect(error?.path == "resources.memry")
        #expect(error?.hint == "did you mean \"memory\"?")
    }

    @Test func wrongTypesNameTheFieldAndBothKinds() throws {
        var reader = try FieldReader(["a": [1], "b": "x", "c": 1.5, "d": [1, "x"]])
        #expect(failure { () throws(LunetteError) in _ = try reader.string("a") }?.description == "a: expected a string, got a list")
        #expect(failure { () throws(LunetteError) in _ = try reader.bool("b") }?.path == "b")
        #expect(failure { () throws(LunetteError) in _ = try reader.int("c") }?.path == "c")
        #expect(failure { () throws(LunetteError) in _ = try reader.strings("d") }?.path == "d[1]")
        #expect(failure { () throws(LunetteError) in _ = try FieldReader(.int(1), path: "spec") }?.path == "spec")
    }

    @Test func nullIsAbsent() throws {
        var reader = try FieldReader(["a": nil])
        #expect(try reader.string("a") == nil)
        #expect(failure { () throws(LunetteError) in _ = try reader.required("a") }?.message == "is required")
        try reader.finish()
    }

    @Test func luaNumbersThatAreWholeAreWhole() throws {
        var reader = try FieldReader(["a": 3.0])
        #expect(try reader.int("a") == 3)
    }

    @Test func anEmptyListIsAnEmptyTableAndTheOtherWayRound() throws {
        var reader = try FieldReader(["a": [], "b": .map(ValueMap())])
        #expect(try reader.table("a")?.keys == [])
        #expect(try reader.list("b") == [])
    }

    @Test func jsonHasItsOwnWords() throws {
        var reader = try FieldReader(["a": [1], "b": ["x": 1], "c": [2]], notation: .json)
        #expect(failure { () throws(LunetteError) in _ = try reader.string("a") }?.description == "a: expected a string, got an array")
        #expect(failure { () throws(LunetteError) in _ = try reader.list("b") }?.description == "b: expected an array, got an object")
        #expect(failure { () throws(LunetteError) in _ = try reader.strings("c") }?.path == "c[0]")
    }

    @Test func mergingFollowsAmend() {
        let base: Value = ["a": ["x": 1, "y": [1, 2]], "b": "keep"]
        #expect(base.merged(with: ["a": ["y": [3], "z": 4]]) == ["a": ["x": 1, "y": [3], "z": 4], "b": "keep"])
        #expect(base.merged(with: ["b": nil, "a": ["x": nil]]) == ["a": ["y": [1, 2]]])
        #expect(base.merged(with: ["c": ["d": nil, "e": 1]]) == ["a": ["x": 1, "y": [1, 2]], "b": "keep", "c": ["e": 1]])
        #expect(base.merged(with: 5) == 5)
    }

    @Test func errorsSurviveTheWire() {
        let error = LunetteError(
            .denied, "mount x: permission denied", path: "a.b", operation: "container.create", target: "c", errno: 13, hint: "be root",
            details: ["step": 1], cause: LunetteError(.io, "inner")
        )
        #expect(LunetteError(value: error.value) == error)
        #expect(LunetteError(value: "noise").code == .internal)
    }

    @Test func displayableTextHasNoControlCharacters() {
        #expect(displayable("a\u{1b}[31mb\u{7}\u{9b}c\u{202e}") == "a\\x1b[31mb\\x07\\x9bc\\x202e")
        #expect(displayable(String(repeating: "x", count: 300), limit: 3) == "xxx…")
    }

    @Test func sha256IsTheStandards() {
        // FIPS 180-4 examples, and lengths around the padding's edges.
        #expect(SHA256.digest(of: []).hex == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(SHA256.digest(of: Array("abc".utf8)).hex == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(
            SHA256.digest(of: Array("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".utf8)).hex
                == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        )
    }
}
