/// The program that answers notified system calls, and what it is told with the descriptor: the runtime specification's container process
/// state (config-linux.md, "The Container Process State"), whose process ids only the shim knows.
package struct SeccompListenerPlan: Sendable, Hashable {
    /// A stream socket of the host; the shim connects to it for each process, sends one message, and closes it.
    package var path: String
    /// The state's JSON around two numbers: the process that the descriptor is of, and the container's (when something comes after it).
    package var before: String
    package var between: String
    package var after: String

    package enum Status: String, Sendable { case creating, running }

    /// - Parameters:
    ///   - bundle: absolute, as the state names it.
    ///   - status: the container's: `creating` for its own program, `running` for an exec.
    ///   - containerPID: the container's process where the shim doesn't know it: for an exec beside no monitor.
    /// - Returns: nil for a profile that notifies nobody.
    package init?(_ spec: RuntimeSpec, containerID: String, bundle: String, status: Status, containerPID: Int32? = nil) {
        guard case .profile(let profile)? = spec.linux.seccomp, let path = profile.listenerPath else { return nil }
        func json(_ text: String) -> String { JSON.encode(.string(text)) }
        self.path = path
        before = #"{"ociVersion":\#(json(RuntimeSpec.version)),"fds":["seccompFd"],"pid":"#
        let metadata = profile.listenerMetadata ?? ""
        between =
            (metadata.isEmpty ? "" : #","metadata":\#(json(metadata))"#)
            + #","state":{"ociVersion":\#(json(RuntimeSpec.version)),"id":\#(json(containerID)),"status":"\#(status.rawValue)","pid":"#
        var annotations = ValueMap()
        for name in spec.annotations.keys.sorted() { annotations[name] = .string(spec.annotations[name]!) }
        var rest =
            #","bundle":\#(json(bundle))"# + (annotations.isEmpty ? "" : #","annotations":\#(JSON.encode(.map(annotations)))"#) + "}}"
        if let containerPID {
            between += "\(containerPID)" + rest
            rest = ""
        }
        after = rest
    }

    var record: LaunchRecord {
        LaunchRecord(
            opcode: .seccompListener,
            fields: [("path", .text(path)), ("before", .text(before)), ("between", .text(between)), ("after", .text(after))])
    }
}
