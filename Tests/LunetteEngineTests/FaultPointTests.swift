import Foundation
import LunetteTesting
import Testing

@testable import LunetteEngine

@Suite struct FaultPointTests {
    @Test func everyPointInTheSourceIsListedAndEveryListedOneIsThere() throws {
        let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let sources = package.appendingPathComponent("Sources/LunetteEngine")
        var found: Set<String> = []
        let files = FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil)!
        for case let file as URL in files where file.pathExtension == "swift" {
            let text = try String(contentsOf: file, encoding: .utf8)
            for match in text.matches(of: /faultPoint\("([^"]+)"\)/) { found.insert(String(match.1)) }
        }
        #expect(found.sorted() == Engine.ownFaultPoints.sorted())
        #expect(Set(Engine.faultPoints).isSuperset(of: found))
    }
}
