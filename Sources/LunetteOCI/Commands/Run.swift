internal import LunetteLinux
internal import LunetteSpec

extension Command {
    static let run = Command(
        name: "run", summary: "create and start a container; wait for its program unless --detach", arguments: "ID", count: 1...1,
        options: Creation.Request.options + [
            Option("detach", "d", .none, "leave when the program runs"),
            Option("keep", nil, .none, "keep the container when its program has ended"),
            Option("no-subreaper", nil, .none, "taken for runc's sake: the program of a container in the foreground is always our child"),
        ]
    ) { invocation throws(LunetteError) in
        let isDetached = invocation.options.flag("detach")
        var request = try Creation.Request(invocation, isDetached: isDetached)
        request.startsAtOnce = true
        return isDetached ? try runDetached(request, invocation) : try runForeground(request, invocation)
    }

    private static func runDetached(_ request: Creation.Request, _ invocation: Invocation) throws(LunetteError) -> Int32 {
        let creation = Creation(request: request, invocation: invocation)
        try leave(try creation.create(), creation)
        return 0
    }

    private static func runForeground(_ request: Creation.Request, _ invocation: Invocation) throws(LunetteError) -> Int32 {
        let foreground = try Foreground()
        let creation = Creation(request: request, invocation: invocation)
        let created = try creation.create()
        let code = try foreground.wait(for: created.handover.pid, terminal: created.handover.terminal) { () throws(LunetteError) in
            try leave(created, creation)
        }
        invocation.log.debug("the program ended with exit code \(code)")
        guard !invocation.options.flag("keep") else { return code }
        // `delete` may have come in between, from inside a hook or another shell: then there is nothing left to do.
        guard let held = try? invocation.store.hold(created.container.folder, created.container.id) else { return code }
        try remove(created.container, held, created.hooks, invocation)
        return code
    }

    /// Leaves what this call created and started; a program that can't be executed takes the container with it.
    private static func leave(_ created: Creation.Created, _ creation: Creation) throws(LunetteError) {
        try creation.orTakeApart(created) { () throws(LunetteError) in
            // While the program is being executed, or runs. Who ends us here ends the container, recorded or not: the shim hasn't been released.
            try creation.record(created)
            if !created.isStarted { created.session.start() }
            try created.session.leave()
        }
        creation.invocation.log.debug("the program runs")
        created.held.release()
        try created.container.runPoststart(created.hooks, creation.invocation)
    }
}
