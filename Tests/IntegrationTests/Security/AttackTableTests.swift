import Foundation
import LunetteTesting
import Testing

@Suite struct AttackTableTests {
    /// docs/security.md says where each attack is tested; a test that was renamed or removed must not stay in it.
    @Test func theTableOfAttacksNamesTestsThatExist() throws {
        let document = try String(contentsOfFile: "\(LunetteHome.package)/docs/security.md", encoding: .utf8)
        let table = try #require(document.components(separatedBy: "| | attack |").last)
        let sources = try #require(FileManager.default.enumerator(atPath: "\(LunetteHome.package)/Tests")).compactMap { $0 as? String }
        let code = try sources.filter { $0.hasSuffix(".swift") }.map {
            try String(contentsOfFile: "\(LunetteHome.package)/Tests/\($0)", encoding: .utf8)
        }.joined(separator: "\n")
        let words = table.split(separator: "`", omittingEmptySubsequences: false).enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
        // Names of tests, not of calls and options: words in camel case.
        let names = words.filter { word in
            word.contains(where: \.isUppercase) && word.allSatisfy { $0.isLetter || $0.isNumber } && word.first?.isLowercase == true
        }
        #expect(names.count > 80)
        for name in names { #expect(code.contains("func \(name)("), "\(name) is no test") }
    }
}
