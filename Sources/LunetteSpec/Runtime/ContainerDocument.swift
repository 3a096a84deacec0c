/// The container's state as the OCI runtime specification writes it (runtime.md, "State"): what `state` prints and what hooks read.
package struct ContainerDocument: Sendable, Hashable {
    package enum Status: String, CaseIterable, Sendable {
        case creating, created, running, stopped
        /// Not the specification's, but what runc's callers know.
        case paused
    }

    package var ociVersion: String
    package var id: String
    package var status: Status
    /// Needed for `created` and `running`.
    package var pid: Int32?
    /// The absolute path of the bundle.
    package var bundle: String
    package var annotations: [String: String]

    package init(
        ociVersion: String = RuntimeSpec.version, id: String, status: Status, pid: Int32? = nil, bundle: String,
        annotations: [String: String] = [:]
    ) {
        self.ociVersion = ociVersion
        self.id = id
        self.status = status
        self.pid = pid
        self.bundle = bundle
        self.annotations = annotations
    }

    package var value: Value {
        var map: ValueMap = ["ociVersion": .string(ociVersion), "id": .string(id), "status": .string(status.rawValue)]
        if let pid { map["pid"] = .int(Int64(pid)) }
        map["bundle"] = .string(bundle)
        map.set("annotations", annotations)
        return .map(map)
    }

    /// The document's text before and after the pid, for who knows only then which process it is.
    package struct Template: Sendable, Hashable {
        package var before: String
        package var after: String

        package init(before: String, after: String) {
            self.before = before
            self.after = after
        }
    }

    package var template: Template {
        // Keys keep their order, so the pid can stand last and be cut out.
        var map: ValueMap = ["ociVersion": .string(ociVersion), "id": .string(id), "status": .string(status.rawValue)]
        map["bundle"] = .string(bundle)
        map.set("annotations", annotations)
        let text = JSON.encode(.map(map))
        return Template(before: String(text.dropLast()) + ",\"pid\":", after: "}")
    }
}
