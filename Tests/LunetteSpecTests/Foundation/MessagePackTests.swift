import LunetteSpec
import Testing

@Suite struct MessagePackTests {
    @Test func whatIsWrittenReadsBackTheSame() throws {
        var random = SeededGenerator(seed: 3)
        for round in 0..<500 {
            let value = random.value(isJSON: false)
            #expect(try MessagePack.decode(MessagePack.encode(value)) == value, "round \(round)")
        }
    }

    @Test func everyLengthClassReadsBack() throws {
        for count in [0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536] {
            let values: [Value] = [
                .string(String(repeating: "x", count: count)), .bytes(Array(repeating: 0xff, count: count)),
                .array(Array(repeating: .int(1), count: count)),
            ]
            for value in values { #expect(try MessagePack.decode(MessagePack.encode(value)) == value, "\(value.kind) of \(count)") }
        }
        for number: Int64 in [0, 1, 127, 128, 255, 256, -1, -32, -33, -128, 65535, 65536, .max, .min] {
            #expect(try MessagePack.decode(MessagePack.encode(.int(number))) == .int(number))
        }
    }

    @Test func everyCutIsAnError() {
        var random = SeededGenerator(seed: 4)
        for _ in 0..<50 {
            let bytes = MessagePack.encode(random.value(isJSON: false))
            for end in 0..<min(bytes.count, 200) {
                #expect(
                    failure { () throws(LunetteError) in _ = try MessagePack.decode(Array(bytes[..<end])) } != nil,
                    "cut at \(end) of \(bytes.count)")
            }
        }
    }

    @Test func noInputCrashesTheReader() {
        var random = SeededGenerator(seed: 5)
        for _ in 0..<20_000 {
            let bytes = random.bytes(upTo: 30)
            _ = failure { () throws(LunetteError) in _ = try MessagePack.decode(bytes) }
        }
    }

    @Test func hostileLengthsAllocateNothing() {
        for bytes: [UInt8] in [
            [0xdd, 0xff, 0xff, 0xff, 0xff], [0xdf, 0xff, 0xff, 0xff, 0xff], [0xc6, 0xff, 0xff, 0xff, 0xff], [0xdb, 0x7f, 0xff, 0xff, 0xff],
        ] { #expect(failure { () throws(LunetteError) in _ = try MessagePack.decode(bytes) } != nil) }
    }

    @Test func deepNestingIsAnErrorNotACrash() {
        #expect(
            failure { () throws(LunetteError) in _ = try MessagePack.decode(Array(repeating: 0x91, count: 1 << 20)) }?.message.contains(
                "nested") == true)
    }
}
