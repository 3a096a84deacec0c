public import Foundation
import Glibc

/// A file on the host that an attack must neither change nor read.
public struct Canary: Sendable {
    public let path: String
    /// What it holds: appears nowhere else on the machine.
    public let secret: String

    /// Writes a canary into a new folder below /run/lunette-canary.
    public init() throws {
        let folder = "/run/lunette-canary/\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        path = "\(folder)/canary"
        secret = "canary \(UUID().uuidString)"
        try Data(secret.utf8).write(to: URL(fileURLWithPath: path))
    }

    /// Whether it is as it was written.
    public var isUntouched: Bool { FileManager.default.contents(atPath: path) == Data(secret.utf8) }

    /// Whether `output` holds its secret.
    public func isLeaked(in output: Data) -> Bool { output.range(of: Data(secret.utf8)) != nil }

    /// Removes it and its folder.
    public func remove() {
        // Best effort: a canary that an attack removed is the test's finding, not a failure of tidying up.
        try? FileManager.default.removeItem(atPath: (path as NSString).deletingLastPathComponent)
    }
}
