import LunetteAPI
import LunetteLinux
import LunetteSpec

extension Resident {
    /// What is to be loaded.
    struct Candidate {
        var scripts: [ResidentScript]
        /// What the settings' own require.
        var modules: any ResidentModules
        var hasFolder = true
        private let reading: ReadModules?

        init(files: [ResidentScript], hasFolder: Bool, applied: [ResidentScript], reading: ReadModules) {
            (scripts, modules, self.hasFolder, self.reading) = (files + applied, reading, hasFolder, reading)
        }

        init(stored: ResidentVersion) {
            (scripts, modules, reading) = (stored.scripts, StoredModules(all: stored.modules), nil)
        }

        /// As it is stored, once all is loaded: what was read until then is what belongs to it.
        var version: ResidentVersion {
            ResidentVersion(scripts: scripts, modules: reading?.close() ?? (modules as? StoredModules)?.all ?? [:])
        }
    }

    func read(beside applied: [ResidentScript]) async throws(LunetteError) -> Candidate {
        let files = files
        let found = try await blocking { () throws(LunetteError) in try files.scripts() }
        return Candidate(files: found ?? [], hasFolder: found != nil, applied: applied, reading: ReadModules(files))
    }

    /// What runs, with one script in the place of its namesake.
    func candidate(with script: ResidentScript) async throws(LunetteError) -> Candidate {
        if let other = version.script(script.name), !other.isApplied {
            throw LunetteError(
                .alreadyExists, "a script of the settings' is called \(script.name)", target: script.name,
                hint: "give it another name: --name")
        }
        // The settings' own as they run: what lies changed on the disk is a reload's to bring.
        var scripts = version.scripts
        if let index = scripts.firstIndex(where: { $0.name == script.name }) { scripts[index] = script } else { scripts.append(script) }
        return Candidate(stored: ResidentVersion(scripts: scripts, modules: version.modules))
    }

    /// Loads every script, or none.
    func load(_ candidate: Candidate, _ host: any ResidentHost) async throws(LunetteError) -> [LoadedResident] {
        guard let connector else { throw LunetteError(.internal, "resident code has no engine to call") }
        var loaded: [LoadedResident] = []
        do throws(LunetteError) {
            for script in candidate.scripts {
                let modules: any ResidentModules = script.modules.map { StoredModules(all: $0, isComplete: false) } ?? candidate.modules
                let code = try await host.load(script, modules: modules, connector: connector, log: log)
                loaded.append(LoadedResident(script: script, code: code))
            }
            var places: [String: String] = [:]
            for index in loaded.indices { try await loaded[index].register(with: hooks, &places) }
            var names: Set<String> = []
            for index in loaded.indices {
                loaded[index].sockets = try SocketDeclaration.read(loaded[index].code.sockets, file: loaded[index].script.file, &names)
            }
            return loaded
        } catch {
            await Self.stop(loaded)
            throw error
        }
    }
}
