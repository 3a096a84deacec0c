import LunetteLinux
import LunetteTesting
import Testing

@testable import LunetteEngine

@Suite struct TreeSizeTests {
    @Test func aTreeOfAnyDepthAndWidthIsCounted() async throws {
        let (temporary, name) = (try Directory(DeepTree.fastPlace), "lunette-size-\(UInt64.random(in: 0...UInt64.max))")
        let folder = try temporary.makeDirectory(name)
        try folder.makeDeepTree("deep", levels: 20_000, file: "file")
        for index in 0..<3000 { _ = try folder.makeDirectory("wide\(index)") }
        let size = try await blocking { () throws(SystemCallError) in try treeSize(folder) }
        #expect(size.entries == 23_001)
        try temporary.removeTree(name)
    }
}
