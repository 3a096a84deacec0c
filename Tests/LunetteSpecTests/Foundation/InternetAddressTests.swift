import LunetteSpec
import Testing

@Suite struct InternetAddressTests {
    @Test(arguments: [
        "8.8.8.8", "0.0.0.0", "255.255.255.255", "::", "::1", "1::", "2001:db8::1", "2001:DB8:0:0:0:0:0:1", "::ffff:8.8.8.8",
        "fe80::1%eth0",
        "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:1.2.3.4",
    ])
    func addressesAreTaken(_ text: String) { #expect(InternetAddress.isAddress(text)) }

    @Test(arguments: [
        "", "foo", "8.8.8", "8.8.8.8.8", "8.8.8.256", "8.8.8.08", "8.8.8.", "+1.2.3.4", ":", ":::", "1::2::3", "1:2:3", "1:2:3:4:5:6:7:8:9",
        "1:2:3:4::5:6:7:8", "g::", "12345::", ":1::", "::1:", "1.2.3.4::", "::1%", "fe80::1%a b", "8.8.8.8%eth0", "a b",
    ])
    func anythingElseIsNot(_ text: String) { #expect(!InternetAddress.isAddress(text)) }
}
