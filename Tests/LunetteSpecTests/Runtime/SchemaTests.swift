import Foundation
import LunetteSpec
import Testing

/// The specification's own schemas and examples: Tests/Data, or a folder named by LUNETTE_TEST_DATA.
enum SpecificationData {
    static let folder: URL? = {
        let checkout = URL(filePath: #filePath).appending(path: "../../../..").standardizedFileURL
        let named = ProcessInfo.processInfo.environment["LUNETTE_TEST_DATA"].map { URL(filePath: $0) }
        let candidates = [named, checkout.appending(path: "Tests/Data").standardizedFileURL].compactMap { $0 }
        return candidates.first { FileManager.default.fileExists(atPath: $0.appending(path: "runtime-spec/config-schema.json").path) }
    }()

    static func examples(_ kind: String) -> [URL] {
        guard let folder else { return [] }
        let names =
            (try? FileManager.default.contentsOfDirectory(atPath: folder.appending(path: "runtime-spec/test/config/\(kind)").path)) ?? []
        return names.sorted().map { folder.appending(path: "runtime-spec/test/config/\(kind)/\($0)") }
    }

    static let hasValidator: Bool = {
        let python = Process()
        python.executableURL = URL(filePath: "/usr/bin/python3")
        python.arguments = ["-c", "import jsonschema"]
        python.standardError = FileHandle.nullDevice
        guard (try? python.run()) != nil else { return false }
        python.waitUntilExit()
        return python.terminationStatus == 0
    }()
}

@Suite struct SchemaTests {
    @Test(.enabled(if: SpecificationData.folder != nil, "the runtime-spec's schemas are not here (LUNETTE_TEST_DATA)"))
    func goodExamplesAreAcceptedAndBadOnesRefused() throws {
        let good = SpecificationData.examples("good")
        let bad = SpecificationData.examples("bad")
        #expect(good.count >= 8 && bad.count >= 5)
        for file in good {
            let value = try JSON.decode(Array(try Data(contentsOf: file)), source: file.lastPathComponent)
            let inventory = FieldInventory()
            #expect(
                failure { () throws(LunetteError) in _ = try RuntimeSpec(value, inventory: inventory) } == nil, "\(file.lastPathComponent)")
            // That one was moved to `process` before 1.0, and stayed in an example.
            let unknown = inventory.unasked.map(\.path).filter { $0 != "linux.resources.oomScoreAdj" }
            #expect(unknown == [], "\(file.lastPathComponent)")
        }
        for file in bad {
            let bytes = Array(try Data(contentsOf: file))
            let error = failure { () throws(LunetteError) in _ = try RuntimeSpec(try JSON.decode(bytes, source: file.lastPathComponent)) }
            #expect(error?.code == .invalidArgument, "\(file.lastPathComponent) was taken")
        }
    }

    @Test(
        .enabled(if: SpecificationData.folder != nil, "the runtime-spec's schemas are not here (LUNETTE_TEST_DATA)"),
        .enabled(if: SpecificationData.hasValidator, "Debian's python3-jsonschema is not installed")
    )
    func whatWeWriteValidatesAgainstTheSchema() throws {
        let folder = try #require(SpecificationData.folder).appending(path: "runtime-spec")
        let script = """
            import json, pathlib, sys
            from jsonschema import Draft4Validator, RefResolver
            folder = pathlib.Path(sys.argv[1])
            store = {p.resolve().as_uri(): json.loads(p.read_text()) for p in folder.glob("*.json")}
            schema = json.loads((folder / "config-schema.json").read_text())
            resolver = RefResolver((folder / "config-schema.json").resolve().as_uri(), schema, store=store)
            errors = [f"{list(e.path)}: {e.message}" for e in Draft4Validator(schema, resolver=resolver).iter_errors(json.load(sys.stdin))]
            print("\\n".join(errors)); sys.exit(1 if errors else 0)
            """
        for spec: Value in [
            ContainerSpecTests.full, ["image": "x"], ["image": "x", "network": "host", "security": ["seccomp": "unconfined"]],
        ] {
            let python = Process()
            python.executableURL = URL(filePath: "/usr/bin/python3")
            python.arguments = ["-c", script, folder.path]
            let (input, output) = (Pipe(), Pipe())
            python.standardInput = input
            python.standardOutput = output
            python.standardError = output
            try python.run()
            try input.fileHandleForWriting.write(contentsOf: Data(JSON.encode(try RuntimeSpecTests.made(spec).value).utf8))
            try input.fileHandleForWriting.close()
            let said = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            python.waitUntilExit()
            #expect(python.terminationStatus == 0, "\(said)")
        }
    }
}
