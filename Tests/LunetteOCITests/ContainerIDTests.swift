import LunetteSpec
import Testing

@testable import LunetteOCI

/// Attack 16: ids become names of folders, cgroups and units.
@Suite struct ContainerIDTests {
    @Test(arguments: [
        "", ".", "..", "a/b", "/a", "-a", "--force", ".hidden", "a b", "a\0b", "a\nb", "ä", "容器", "a\u{202e}b", "a:b", "a%b", "a\\b",
        String(repeating: "a", count: 4096), String(repeating: "a", count: 201),
    ])
    func namesThatLeadElsewhereAreRefused(id: String) {
        #expect(throws: LunetteError.self) { try ContainerID.validate(id) }
    }

    @Test(arguments: ["a", "A_b+c-d.e", "0", "_x", "+x", String(repeating: "f", count: 64), String(repeating: "a", count: 200), "a..b"])
    func runcsCharactersAreTaken(id: String) throws { try ContainerID.validate(id) }
}
