import Foundation
import Glibc
import LunetteTesting
import Testing

/// A home with settings of its own.
struct ResidentPlace {
    let home: LunetteHome
    var settings: String { "\(home.folder)/settings" }
    private var environment: [String: String?] { ["LUNETTE_CONFIG": settings] }

    init(_ home: LunetteHome) throws {
        self.home = home
        for folder in ["conf.d", "lua"] {
            try FileManager.default.createDirectory(atPath: "\(home.folder)/settings/\(folder)", withIntermediateDirectories: true)
        }
    }

    /// Puts a file there in one step, as an editor does.
    func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(settings)/.new"))
        #expect(rename("\(settings)/.new", "\(settings)/\(name)") == 0)
    }

    @discardableResult
    func lunette(_ arguments: String..., expecting code: Int32? = 0) async throws -> Finished {
        try await home.command(arguments, environment: environment).run(expecting: code)
    }

    func start(_ arguments: [String]) throws -> RunningCommand { try home.command(arguments, environment: environment).start() }

    var log: String { (try? String(contentsOfFile: "\(home.state)/engine.log", encoding: .utf8)) ?? "" }

    /// Kills the engine where it stands.
    func killEngine() {
        for process in home.processes() where process.command.contains(" daemon") { kill(pid_t(process.pid), SIGKILL) }
    }

    func engineHasLeft() async throws {
        try await eventually("the engine has left", within: .seconds(30)) {
            home.processes().filter { $0.command.contains(" daemon") }.isEmpty
        }
    }
}
