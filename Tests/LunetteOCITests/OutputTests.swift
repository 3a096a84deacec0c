import Foundation
import LunetteSpec
import LunetteTesting
import Testing

@testable import LunetteOCI

@Suite struct OutputTests {
    @Test func theLogIsLogruss() throws {
        let path = "/tmp/lunette-oci-log.\(UInt64.random(in: 0...UInt64.max))"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let error = LunetteError(.notFound, "no \"x\"\nhere", path: "a.b", hint: "look")
        for format in ["json", "text"] {
            let options = try Options(["--log", path, "--log-format", format][...], GlobalOptions.options, order: .beforeArguments)
            ErrorLog(try GlobalOptions(options)).warn(ErrorLog.line(error))
        }
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        let entry = try JSON.decode(Array(lines[0].utf8), source: "log")
        #expect(entry["level"] == "warning" && entry["msg"] == "a.b: no \"x\"\nhere (look)")
        #expect(entry["time"]?.stringValue?.count == 20)
        #expect(lines[1].hasPrefix("time=\"20") && lines[1].hasSuffix("Z\" level=warning msg=\"a.b: no \\\"x\\\"\\nhere (look)\""))
    }

    @Test func theVersionReadsAsPodmanAndContainerdExpect() {
        let lines = OCIProgram.versionText.split(separator: "\n")
        #expect(lines.first == "lunette-oci version \(OCIProgram.version)" && lines.dropFirst().first == "spec: \(RuntimeSpec.version)")
    }

    @Test func tablesAreAligned() {
        #expect(
            TextTable.text([["ID", "PID"], ["a-very-long-identifier", "7"]]) == "ID                       PID\na-very-long-identifier   7")
        #expect(TextTable.text([["ID", "PID"]]) == "ID          PID")
    }

    @Test(arguments: [false, true])
    func theStarterConfigIsOneThatWeTake(isRootless: Bool) throws {
        let spec = try RuntimeSpec(StarterConfig.value(rootlessFor: isRootless ? (1000, 1000) : nil))
        #expect(spec.process?.args == ["sh"] && spec.root?.readonly == true)
        #expect((spec.linux.namespace(.user) != nil) == isRootless)
        #expect(spec.linux.uidMappings.first?.hostID == (isRootless ? 1000 : nil))
    }
}
