internal import LunetteSpec

extension Command {
    static let state = Command(
        name: "state", summary: "print a container's state as JSON", arguments: "ID", count: 1...1, options: []
    ) { invocation throws(LunetteError) in
        let container = try invocation.store.find(try invocation.containerID())
        try printOut(JSON.shown(container.description(container.status()), pretty: true))
        return 0
    }
}
