import Foundation
import LunetteSpec
import LunetteTesting

/// The specification's schemas and examples, in Tests/Data.
enum Schemas {
    static let folder = "\(LunetteHome.package)/Tests/Data/runtime-spec"

    /// Validates with Debian's python3-jsonschema.
    /// - Throws: `CommandFailure` with the validator's own lines.
    static func check(_ value: Value, _ schema: String) async throws {
        let script = """
            import json, pathlib, sys, warnings
            warnings.simplefilter("ignore")
            from jsonschema import Draft4Validator, RefResolver
            folder = pathlib.Path(sys.argv[1])
            store = {p.resolve().as_uri(): json.loads(p.read_text()) for p in folder.glob("*.json")}
            schema = json.loads((folder / sys.argv[2]).read_text())
            resolver = RefResolver((folder / sys.argv[2]).resolve().as_uri(), schema, store=store)
            errors = [f"{list(e.path)}: {e.message}" for e in Draft4Validator(schema, resolver=resolver).iter_errors(json.load(sys.stdin))]
            print("\\n".join(errors)); sys.exit(1 if errors else 0)
            """
        try await Command(["/usr/bin/python3", "-c", script, folder, schema], input: Data(JSON.encode(value).utf8)).run()
    }

    static func examples(_ kind: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "\(folder)/test/\(kind)").sorted().map { "\(folder)/test/\(kind)/\($0)" }
    }

    static func read(_ path: String) throws -> Value {
        try JSON.decode(Array(FileManager.default.contents(atPath: path) ?? Data()), source: path)
    }
}
