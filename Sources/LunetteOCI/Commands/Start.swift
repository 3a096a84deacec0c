internal import LunetteLinux
internal import LunetteSpec

extension Command {
    static let start = Command(
        name: "start", summary: "run the program of a created container", arguments: "ID", count: 1...1, options: []
    ) { invocation throws(LunetteError) in
        let id = try invocation.containerID()
        let held = try invocation.store.hold(id, to: "start")
        let container = try Container(held.directory, store: invocation.store)
        switch container.status() {
        case .created: break
        case .stopped: throw LunetteError(.invalidState, "start container \(id): cannot start a container that has stopped", target: id)
        case let status:
            throw LunetteError(.invalidState, "start container \(id): cannot start an already \(status.rawValue) container", target: id)
        }
        let hooks = try container.spec().hooks
        try Gate(held.directory).open(id)
        faultPoint("oci.start.opened")
        held.release()
        container.runPoststart(hooks, invocation.log)
        return 0
    }
}

extension Container {
    /// Hooks after the start: a failure is told and changes nothing (runtime-spec 1.2, runtime.md "Lifecycle" step 9).
    func runPoststart(_ hooks: RuntimeSpec.Hooks, _ log: ErrorLog) {
        let state = document(.running, pid: record.initProcess?.pid)
        Hooks.runAll(hooks.poststart, "poststart", state: state, folder: try? Directory(record.bundle)) { log.warn(ErrorLog.line($0)) }
    }

    /// Hooks after the end: a failure is told and changes nothing.
    func runPoststop(_ hooks: RuntimeSpec.Hooks, _ log: ErrorLog) {
        let state = document(.stopped, pid: nil)
        Hooks.runAll(hooks.poststop, "poststop", state: state, folder: try? Directory(record.bundle)) { log.warn(ErrorLog.line($0)) }
    }
}
