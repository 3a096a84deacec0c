import Foundation
import Glibc
import Synchronization

/// An ordinary user who exists for one test only: a number, with a passwd file and ranges of ids that its processes alone see.
///
/// Each command runs in a mount namespace of its own, where these files are bound over /etc/passwd, /etc/subuid and /etc/subgid, which
/// newuidmap reads. The machine's files stay as they are, whatever kills the test.
public struct TestUser: Sendable {
    public let uid: UInt32
    /// The first of its 65,536 further ids; nil for a user without any.
    public let firstID: UInt32?
    private let folder: String

    @TaskLocal
    /// Whether `withLunette` gives its body the home of an ordinary user.
    public static var isWanted = false

    private static let next = Mutex<UInt32>(0)

    /// - Parameter folder: the home's; it becomes the user's.
    public init(folder: String, hasRange: Bool) throws {
        // Tests of this process differ by a count, and those of another by its pid: leaks are found, and ended, by the number. No two users of
        // a run may share one, and the last range ends below those of root's engine (2,000,000,000).
        let number = Self.next.withLock { next in
            next += 1
            return (UInt32(getpid()) % 80) * 300 + next % 300
        }
        uid = 100_000 + number
        firstID = hasRange ? 400_000_000 + number * 65_536 : nil
        self.folder = folder
        let name = "tester\(number)"
        let range = firstID.map { "\(name):\($0):65536\n" } ?? ""
        let enter = """
            #!/bin/bash
            set -eu
            mount --bind \(folder)/user/passwd /etc/passwd
            mount --bind \(folder)/user/subid /etc/subuid
            mount --bind \(folder)/user/subid /etc/subgid
            exec setpriv --reuid=\(uid) --regid=\(uid) --clear-groups -- "$@"

            """
        let files = [
            ("passwd", "root:x:0:0:root:/root:/bin/sh\n\(name):x:\(uid):\(uid)::\(folder):/bin/sh\n"), ("subid", range), ("enter", enter),
        ]
        try FileManager.default.createDirectory(atPath: "\(folder)/user", withIntermediateDirectories: true)
        for (file, text) in files { try Data(text.utf8).write(to: URL(fileURLWithPath: "\(folder)/user/\(file)")) }
        guard chown(folder, uid, uid) == 0 else { throw CommandFailure("chown \(folder): errno \(errno)") }
    }

    /// The words in front of a command's own that make it the user's.
    public var words: [String] { ["/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/bash", "\(folder)/user/enter"] }

    /// Whether an id of the host is this user's.
    func owns(_ id: UInt32) -> Bool { id == uid || firstID.map { ($0..<$0 + 65_536).contains(id) } ?? false }

    /// What runs on this machine with one of its ids, one line each.
    func processes() -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { pid_t($0) }.compactMap { pid in
            var status = stat()
            // A process that can't be traced has its files owned by root: the real uid is in its status.
            guard stat("/proc/\(pid)", &status) == 0, let text = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8),
                let line = text.split(separator: "\n").first(where: { $0.hasPrefix("Uid:") }),
                let id = line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({ UInt32($0) }), owns(id)
            else { return nil }
            let name = text.split(separator: "\n").first { $0.hasPrefix("Name:") } ?? ""
            return "process \(pid) of the user \(uid): \(name.dropFirst(6))"
        }
    }
}
