import Foundation
import Glibc

/// A program of Tests/Probes, compiled static once a version of its source.
public actor CProbe {
    /// What a container's process sees, asked from inside (oci-probe.c).
    public static let container = CProbe("oci-probe")
    /// What becomes of system calls under a filter, and the program that answers notified ones (seccomp.c).
    public static let seccomp = CProbe("seccomp")
    /// What a hostile program tries (attack.c); it refuses to run outside a user namespace.
    public static let attack = CProbe("attack")
    /// Tries accesses, harmlessly (access.c).
    public static let access = CProbe("access")
    /// Swaps names under a runtime's hands, and does the runtime's work the naive way, so that a race is seen to be won (race.c).
    public static let race = CProbe("race")

    private let name: String
    private var made: Task<String, any Error>?

    init(_ name: String) { self.name = name }

    /// - Returns: the path of the binary.
    public func path() async throws -> String {
        // A machine without a compiler (scripts/dev/test-in-vm) brings them along.
        if let folder = ProcessInfo.processInfo.environment["LUNETTE_PROBES"] { return "\(folder)/\(name)" }
        if let made { return try await made.value }
        let task = Task { [name] in
            let source = "\(LunetteHome.package)/Tests/Probes/\(name).c"
            let version = try await Command("sha256sum", source).run().text.prefix(12)
            let folder = "\(LunetteHome.package)/.build/test-probes"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            let binary = "\(folder)/\(name)-\(version)"
            if !FileManager.default.fileExists(atPath: binary) {
                let temporary = "\(binary).\(getpid())"
                try await Command("gcc", "-O1", "-static", "-Wall", "-Wextra", "-Werror", "-o", temporary, source).run()
                rename(temporary, binary)
            }
            return binary
        }
        made = task
        return try await task.value
    }
}

/// The probe's answers: lines of a key and a value.
public struct ProbeAnswers: Sendable, CustomStringConvertible {
    public let lines: [String]
    private let answers: [String: [String]]
    /// How the runtime's command ended.
    public let code: Int32
    public let errors: String

    public init(_ finished: Finished) { self.init(text: finished.text, code: finished.code, errors: finished.errorText) }

    public init(text: String, code: Int32 = 0, errors: String = "") {
        // A terminal sends carriage returns.
        lines = text.replacingOccurrences(of: "\r", with: "").components(separatedBy: "\n")
        var answers: [String: [String]] = [:]
        for line in lines {
            guard let space = line.firstIndex(of: " ") else { continue }
            answers[String(line[..<space]), default: []].append(String(line[line.index(after: space)...]))
        }
        self.answers = answers
        self.code = code
        self.errors = errors
    }

    public var description: String { (lines + [errors]).joined(separator: "\n") }

    /// The first answer under this key.
    public subscript(_ key: String) -> String? { answers[key]?.first }
    public func all(_ key: String) -> [String] { answers[key] ?? [] }
    /// The words of the first answer.
    public func words(_ key: String) -> [String] { (self[key] ?? "").split(separator: " ").map(String.init) }

    /// A mount by where it is mounted: the topmost there.
    public func mount(_ path: String) -> Mount? {
        all("mount").map(Mount.init).last { $0.path == path }
    }

    /// A line of /proc/self/mountinfo.
    public struct Mount: Sendable {
        public let path: String
        public let options: Set<String>
        /// shared:N, master:N, unbindable; without the numbers.
        public let propagation: Set<String>
        public let type: String
        public let source: String
        public let superOptions: Set<String>
        public let root: String

        init(_ line: String) {
            let words = line.components(separatedBy: " ")
            func list(_ index: Int) -> Set<String> { Set(words[index].components(separatedBy: ",").filter { $0 != "-" }) }
            path = words[0]
            options = list(1)
            propagation = Set(list(2).map { $0.components(separatedBy: ":")[0] })
            type = words[3]
            source = words[4]
            superOptions = list(5)
            root = words[6]
        }
    }
}
