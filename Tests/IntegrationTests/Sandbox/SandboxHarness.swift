import Foundation
import LunetteTesting
import Testing

/// Who runs the sandbox: the machine's root, or an ordinary user without an entry in any file.
enum SandboxCaller: String, CaseIterable, CustomTestStringConvertible {
    case root
    case user

    static let uid: uid_t = 54321
    var testDescription: String { rawValue }
    /// Uses the same words for both, so that what is done without a sandbox is done by the same user.
    var prefix: [String] {
        self == .root ? [] : ["setpriv", "--reuid", "\(Self.uid)", "--regid", "\(Self.uid)", "--clear-groups"]
    }
    var uid: uid_t { self == .root ? 0 : Self.uid }
}

/// Folders of a test's own: a home with a secret in it, a source tree, something outside both; all the caller's.
final class SandboxPlace: Sendable {
    let folder: String
    let caller: SandboxCaller
    let secret = "secret \(UUID().uuidString)"
    var home: String { "\(folder)/home" }
    var tree: String { "\(folder)/home/tree" }
    var outside: String { "\(folder)/outside" }
    /// The caller's copy of the program that tries accesses.
    var probe: String { "\(folder)/bin/access" }

    init(_ caller: SandboxCaller) throws {
        self.caller = caller
        // Not below /tmp, which a sandbox has for itself.
        folder = "/var/lib/lunette-sandbox-test.\(UUID().uuidString.prefix(8))"
        for path in ["\(folder)/home/.ssh", "\(folder)/home/tree", "\(folder)/outside", "\(folder)/bin"] {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        }
        for path in ["\(folder)/home/.ssh/id_rsa", "\(folder)/outside/file"] { try Data(secret.utf8).write(to: URL(fileURLWithPath: path)) }
        let everything = try FileManager.default.subpathsOfDirectory(atPath: folder)
        for path in everything where !path.hasPrefix("bin") { chown("\(folder)/\(path)", caller.uid, caller.uid) }
        chmod(folder, 0o755)
    }

    var environment: [String: String?] {
        // With a runtime folder, or an ordinary user's `lunette` would make one in /tmp that outlives the test.
        [
            "HOME": home, "USER": "tester", "LUNETTE_SHIM": nil, "XDG_CACHE_HOME": "\(home)/.cache", "NO_COLOR": "1",
            "XDG_RUNTIME_DIR": caller == .root ? nil : home,
        ]
    }

    /// Any command as the caller, in the source tree.
    func command(_ words: [String], input: String? = nil) -> Command {
        Command(caller.prefix + words, environment: environment, workdir: tree, input: input.map { Data($0.utf8) })
    }

    /// `lunette sandbox WORDS…`; whatever comes of it is the answer.
    @discardableResult
    func sandbox(_ words: String..., input: String? = nil, expecting code: Int32? = nil) async throws -> Finished {
        try await command(["\(folder)/bin/lunette", "sandbox"] + words, input: input).run(expecting: code)
    }

    /// The same shell line without a sandbox.
    func plain(_ line: String) async throws -> Finished { try await command(["sh", "-c", line]).run(expecting: nil) }

    func contents(_ path: String) -> String? { FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } }

    func remove() { try? FileManager.default.removeItem(atPath: folder) }  // best effort: a folder of the test's own
}

func withSandboxPlace(_ caller: SandboxCaller, _ body: (SandboxPlace) async throws -> Void) async throws {
    let place = try SandboxPlace(caller)
    defer { place.remove() }
    // The build may lie where an ordinary user doesn't come.
    let built = (LunetteHome.binary as NSString).deletingLastPathComponent
    for name in ["lunette", "lunette-shim"] { try await Programs.copy("\(built)/\(name)", to: "\(place.folder)/bin/\(name)") }
    try await Programs.copy(try await CProbe.access.path(), to: place.probe)
    try await body(place)
}
