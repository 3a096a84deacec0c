internal import LunetteAPI
internal import LunetteSpec

extension LuaHost {
    /// Checks a call that this host answers itself, as the engine's are checked: what the session may, what the code may, its arguments.
    func clientCall(_ name: String, _ given: Value) throws(LunetteError) -> (function: APIFunction, arguments: Value) {
        guard let function = APIRegistry.function(name), function.place == .client else {
            throw LunetteError(.internal, "\(name) is not the host's to answer")
        }
        if isReadOnly { try ReadOnly.check(function, given) }
        if let wanted = function.permission, let permissions = options.permissions, !permissions.contains(wanted) {
            throw LunetteError(
                .denied, "\(name) is not among what this code may call", operation: name, hint: "it takes the permission \"\(wanted)\"")
        }
        let arguments = given.mapValue == nil ? Value.map([:]) : given
        try APIRegistry.check(arguments, for: function)
        return (function, APIRegistry.withAbsolutePaths(arguments, for: function, directory: options.directory))
    }
}
