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
        let spec = try container.spec()
        let hooks = spec.hooks
        do throws(LunetteError) {
            let hasListener = if case .profile(let profile)? = spec.linux.seccomp { profile.listenerPath != nil } else { false }
            let hasEnded: () -> Bool = { container.initProcess()?.waitForExit(milliseconds: 200) ?? true }
            let saysHooks = !hooks.startContainer.isEmpty && !hasListener
            let isStopped = { container.record.initProcess.flatMap { ProcessStat.read(pid: $0.pid) }?.state == "T" }
            try Gate(held.directory).open(id, spec.process, wasKilled: saysHooks ? hasEnded : nil, isStopped: isStopped)
        } catch {
            // A launch that failed ends pid 1, which tells of it before: `delete` comes next, and wants it stopped.
            if error.details != nil { _ = container.initProcess()?.waitForExit(milliseconds: 5000) }
            throw error
        }
        faultPoint("oci.start.opened")
        invocation.log.debug("the gate is open; poststart hooks: \(hooks.poststart.count)")
        held.release()
        try container.runPoststart(hooks, invocation)
        return 0
    }
}

extension Container {
    /// Hooks after the start, while nobody holds the container: a hook may ask for its state, and somebody may remove the container meanwhile,
    /// which ends the hooks and is no failure of the start.
    /// - Throws: what the first that failed said, when the container has been ended and taken apart for it (runtime.md, "Lifecycle", step 9).
    func runPoststart(_ hooks: RuntimeSpec.Hooks, _ invocation: Invocation) throws(LunetteError) {
        guard !hooks.poststart.isEmpty else { return }
        let state = document(.running, pid: record.initProcess?.pid)
        // A folder that can't be looked at is nobody's reason to end anything.
        let isGone = { (try? invocation.store.isThere(folder, id)) == false }
        do throws(LunetteError) {
            try Hooks.run(hooks.poststart, "poststart", state: state, folder: try? Directory(record.bundle), isGone: isGone)
        } catch {
            var failure = error
            do throws(LunetteError) {
                let held = try invocation.store.hold(folder, id)
                if let leftover = Deletion(container: self, held: held, store: invocation.store, log: invocation.log).takeApart().error {
                    throw leftover
                }
            } catch {
                // `delete` was quicker, poststop hooks included.
                if error.code == .notFound { return invocation.log.debug("removed meanwhile; \(failure.description)") }
                // What couldn't be removed `delete` finds by the record.
                failure.causes.append(error)
            }
            runPoststop(hooks, invocation.log)
            throw failure
        }
    }

    /// Hooks after the end: a failure is told and changes nothing.
    func runPoststop(_ hooks: RuntimeSpec.Hooks, _ log: ErrorLog) {
        guard !hooks.poststop.isEmpty else { return }
        let state = document(.stopped, pid: nil)
        Hooks.runAll(hooks.poststop, "poststop", state: state, folder: try? Directory(record.bundle)) { log.warn(ErrorLog.line($0)) }
    }
}
