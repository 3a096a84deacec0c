import LunetteTesting
import Testing

@testable import LunetteLinux

@Suite struct TreeUsageTests {
    @Test func aTreeOfAnyDepthAndWidthIsCounted() async throws {
        let (temporary, name) = (try Directory(DeepTree.fastPlace), "lunette-usage-\(UInt64.random(in: 0...UInt64.max))")
        let folder = try temporary.makeDirectory(name)
        try folder.makeDeepTree("deep", levels: 20_000, file: "file")
        for index in 0..<3000 { _ = try folder.makeDirectory("wide\(index)") }
        let usage = try await blocking { () throws(SystemCallError) in try TreeUsage(of: folder, crossing: false) }
        #expect(usage.entries == 23_001)
        try temporary.removeTree(name)
    }
}
