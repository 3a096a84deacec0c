import LunetteLinux
import Testing

/// A directory of the test's own, gone afterwards.
func withTemporaryDirectory<T>(in parent: String = "/tmp", _ body: (Directory) async throws -> T) async throws -> T {
    let temporary = try Directory(parent)
    let name = "lunette-test-\(UInt64.random(in: 0...UInt64.max))"
    let directory = try temporary.makeDirectory(name)
    let result: Result<T, any Error>
    do { result = .success(try await body(directory)) } catch { result = .failure(error) }
    try temporary.removeTree(name)
    return try result.get()
}

extension Directory {
    /// Writes a plain file, as a fixture needs it.
    func put(_ name: String, _ text: String) throws {
        try open(name, [.writeOnly, .create, .truncate], mode: 0o644).writeAll(Array(text.utf8))
    }
    func text(_ name: String) throws -> String? { try read(name).map { String(decoding: $0, as: UTF8.self) } }
}
