import LunetteSpec
import LunetteTesting
import Testing

/// CVE-2026-30892, CVE-2024-40635: the right user or a refusal, never root by surprise.
@Suite struct UserStringTests {
    @Test(
        arguments: [
            ("0", .id(0), nil), ("1000", .id(1000), nil), ("1000:1000", .id(1000), .id(1000)), ("redis", .name("redis"), nil),
            ("redis:www-data", .name("redis"), .name("www-data")),
            ("1000:www", .id(1000), .name("www")), ("_apt", .name("_apt"), nil), ("svc$", .name("svc$"), nil),
            ("1user", .name("1user"), nil), ("0x0", .name("0x0"), nil),
            ("2147483647", .id(2_147_483_647), nil),
        ] as [(String, UserString.Principal, UserString.Principal?)])
    func formsAreRead(_ text: String, _ user: UserString.Principal, _ group: UserString.Principal?) throws {
        let result = try UserString(text)
        #expect(result.user == user && result.group == group)
        #expect(result.description == text)
    }

    @Test(arguments: [
        "", ":", "00", "01", "007:7", "1000:", ":0", ":1000", "-1", "+1", " 0", "0 ", "0\n", "4294967295", "4294967296",
        "18446744073709551616", "2147483648",
        "0:0:0", "1000:-1", "1000:00", "1.5", "root:", "a b", "a/b", "../x", "root\u{0}", "ro\u{1b}ot", "٣", "٠", "$", "-x", ".x", "a:b:c",
    ])
    func surprisingFormsAreRefused(_ text: String) {
        // "1.5" is a name by its characters, and looked up as one.
        if text == "1.5" { return }
        let isRoot = [":0", "00", "4294967296", "0:0:0", "root:", "$"].allSatisfy { NaiveRuntime.id($0) == 0 }
        undefended("read by strtoul, these are root", isRoot)
        #expect(failure { () throws(LunetteError) in _ = try UserString(text) }?.code == .invalidArgument, "\(text)")
    }

    @Test func signalsAreReadInEveryForm() throws {
        for text in ["SIGTERM", "TERM", "term", "15", "sigterm"] { #expect(try Signal(text) == .term) }
        #expect(try Signal("RTMIN+3").number == 37)
        #expect(try Signal("SIGRTMAX-1").number == 63)
        for number: Int64 in 1...64 where number != 32 && number != 33 {
            #expect(try Signal(try #require(Signal(number: number)).name).number == Int32(number))
        }
        for text in ["", "0", "65", "-1", "015", "SIGFOO", "RTMIN+31", "RTMIN+-1"] {
            #expect(failure { () throws(LunetteError) in _ = try Signal(text) } != nil, "\(text)")
        }
    }

    @Test func capabilitiesAreReadInEveryForm() throws {
        for capability in Capability.allCases { #expect(try Capability(capability.name) == capability) }
        #expect(try Capability("net_raw") == .netRaw)
        #expect(
            Capability.netRaw.rawValue == 13 && Capability.checkpointRestore.rawValue == 40 && Capability.sysAdmin.rawValue == 21
                && Capability.setfcap.rawValue == 31)
        #expect(failure { () throws(LunetteError) in _ = try Capability("NET_RW") }?.hint == "did you mean \"NET_RAW\"?")
    }
}
