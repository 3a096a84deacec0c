internal import LunetteSpec

extension Command {
    static let create = Command(
        name: "create", summary: "create a container from a bundle; its program waits for start", arguments: "ID", count: 1...1,
        options: Creation.Request.options
    ) { invocation throws(LunetteError) in
        let request = try Creation.Request(invocation, isDetached: true)
        let creation = Creation(request: request, invocation: invocation)
        let created = try creation.create()
        try creation.orTakeApart(created) { () throws(LunetteError) in
            try creation.record(created)
            try created.session.release()
        }
        return 0
    }
}
