import LunetteSpec
import Testing

@Suite struct JSONTests {
    private func decode(_ text: String) throws(LunetteError) -> Value { try JSON.decode(Array(text.utf8), source: "test") }

    @Test func whatIsWrittenReadsBackTheSame() throws {
        var random = SeededGenerator(seed: 1)
        for round in 0..<500 {
            let value = random.value(isJSON: true)
            for pretty in [false, true] {
                let text = JSON.encode(value, pretty: pretty)
                #expect(try decode(text) == value, "round \(round): \(text)")
            }
        }
    }

    @Test func noInputCrashesTheReader() {
        var random = SeededGenerator(seed: 2)
        let pieces = [
            "{", "}", "[", "]", "\"", ":", ",", "\\u", "\\ud800", "\\", "1e", "-", "0", "9", "true", "nul", " ", "\n", "\u{1}", "é", "1.5",
            "\"a\":",
        ]
        for _ in 0..<5000 {
            var text = ""
            for _ in 0..<random.below(12) { text += pieces[random.below(pieces.count)] }
            _ = failure { () throws(LunetteError) in _ = try decode(text) }
        }
        for _ in 0..<2000 {
            let bytes = random.bytes(upTo: 40)
            _ = failure { () throws(LunetteError) in _ = try JSON.decode(bytes, source: "noise") }
        }
    }

    @Test(arguments: [
        "", " ", "{", "[", "[1,]", "[,1]", "{\"a\":1,}", "{a:1}", "{\"a\" 1}", "{\"a\":1 \"b\":2}", "01", "-", "+1", ".5", "1.", "1e",
        "1e+", "--1", "0x1", "NaN",
        "Infinity", "'a'", "\"a", "\"\\x\"", "\"\\u12\"", "\"\\u+123\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\t\"",
        "\"\n\"", "tru", "nulll",
        "1 2", "{} x", "{\"a\":1,\"a\":2}", "1.5.5", "1e5e5", "- 1", "1-1", "[1 2]", "\u{feff}1",
    ])
    func malformedDocumentsAreRefused(_ text: String) {
        let error = failure { () throws(LunetteError) in _ = try decode(text) }
        #expect(error?.code == .invalidArgument, "\(text) was taken")
        let isBlank = text.allSatisfy(\.isWhitespace)
        #expect(isBlank || error?.message.contains("line") == true)
    }

    @Test func invalidUTF8IsRefused() {
        for bytes: [UInt8] in [[0x22, 0xff, 0x22], [0x22, 0xc0, 0x80, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22]] {
            #expect(failure { () throws(LunetteError) in _ = try JSON.decode(bytes, source: "test") } != nil)
        }
    }

    @Test func numbersKeepTheirValue() throws {
        #expect(try decode("9223372036854775807") == .int(.max))
        #expect(try decode("-9223372036854775808") == .int(.min))
        #expect(try decode("18446744073709551615").doubleValue == 18446744073709551615.0)
        #expect(try decode("-0") == .int(0))
        #expect(try decode("1e2").doubleValue == 100)
        #expect(try decode("1.5E-1").doubleValue == 0.15)
    }

    @Test func deepNestingIsAnErrorNotACrash() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let text = String(repeating: open, count: 100_000) + "1" + String(repeating: close, count: 100_000)
            #expect(failure { () throws(LunetteError) in _ = try decode(text) }?.message.contains("nested") == true)
        }
    }

    @Test func errorsSayWhere() {
        #expect(failure { () throws(LunetteError) in _ = try decode("") }?.message == "read JSON from test: it is empty")
        #expect(failure { () throws(LunetteError) in _ = try decode(" \n") }?.message.contains("nothing but white space") == true)
        #expect(failure { () throws(LunetteError) in _ = try decode("{\n  \"a\": tru\n}") }?.message.contains("line 2 column 8") == true)
    }

    /// Any beginning of a document: what is wrong is that it ends.
    @Test func aDocumentThatIsCutOffIsSaidToBeCut() {
        let whole = Array("{\"a\": [true, {\"b\\n\": null}]}".utf8)
        for length in 1..<whole.count {
            let error = failure { () throws(LunetteError) in _ = try JSON.decode(Array(whole.prefix(length)), source: "test") }
            #expect(error?.message.contains(": cut short") == true, "\(String(describing: error))")
        }
    }
}
