import LunetteSpec
import LunetteTesting
import Testing

@Suite(.runtimeUnderTest) struct ProcessConformanceTests {
    @Test(.proves("config.process.cwd"))
    func theWorkingDirectoryIsTheConfigured() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["cwd": "/tmp"]])
            let seen = try await bundle.run("cwd", "ids")
            #expect(seen["cwd"] == "/tmp")
        }
    }
}
