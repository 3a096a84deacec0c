internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

/// The folder that `create` gets: `config.json` and, as a rule, the root file system.
struct Bundle: Sendable {
    static let configName = "config.json"
    /// Longer ones are an attack (attack 15): Kubernetes' largest are some hundred kilobytes.
    static let configLimit = 8 << 20

    /// Absolute.
    var path: String
    var folder: Directory
    /// As they stand in the file.
    var config: [UInt8]
    var spec: RuntimeSpec
    /// What the specification doesn't know and wants ignored ("Extensibility"), in words: a slip of the keys would go unseen.
    var unknownFields: [String]
    /// Absolute.
    var rootfs: String

    /// Reads and checks; changes nothing.
    /// - Throws: `not_found` for an absent file; `invalid_argument` with line and column, or with the field's path.
    init(_ path: String) throws(LunetteError) {
        self.path = absolute(path)
        do throws(SystemCallError) {
            // A bundle may be reached over a link: it is the caller's own.
            let flags = OpenFlags([.directory])
            folder = Directory(
                FileDescriptor(owning: try check(lnt_host_openat(-100, self.path, Int32(flags.rawValue), 0), "open the bundle", self.path)),
                label: self.path)
            let file = try folder.open(Self.configName, [.nonblocking], scope: [])
            config = try file.readAll(limit: Self.configLimit)
        } catch {
            var failure = error.lunette
            failure.message = "read \(Self.configName) of bundle \(displayable(self.path, limit: 200)): \(failure.message)"
            if error.errno == ErrorNumber.noEntry {
                failure.hint = "give the bundle's folder by --bundle; lunette-oci spec writes a first config.json"
            }
            throw failure
        }
        let source = "\(displayable(self.path, limit: 200))/\(Self.configName)"
        let document = try JSON.decode(config, source: source)
        guard document.mapValue != nil else {
            throw LunetteError(.invalidArgument, "read \(source): expected an object, got \(Notation.json.kind(of: document))")
        }
        let inventory = FieldInventory()
        spec = try RuntimeSpec(document, inventory: inventory)
        unknownFields = inventory.warnings
        guard let root = spec.root else { throw LunetteError(.invalidArgument, "is required", path: "root") }
        guard !root.path.isEmpty, !root.path.utf8.contains(0) else { throw LunetteError(.invalidArgument, "is no path", path: "root.path") }
        rootfs = root.path.utf8.first == UInt8(ascii: "/") ? root.path : "\(self.path)/\(root.path)"
        var status = lnt_host_stat()
        let found = lnt_host_stat(-100, rootfs, 0, &status)
        guard found == 0, status.mode & 0o170000 == 0o040000 else {
            let why = found == 0 ? "it is no folder" : errnoText(-found)
            throw LunetteError(
                found == 0 ? .invalidArgument : errorCode(forErrno: -found),
                "find the root file system \(displayable(rootfs, limit: 200)): \(why)",
                path: "root.path", errno: found == 0 ? nil : -found)
        }
    }
}

extension FieldInventory {
    /// Of each field that nobody asked for, a line.
    var warnings: [String] {
        unasked.map { field in
            "\(displayable(field.path, limit: 120)): not known and ignored" + (field.nearest.map { " (did you mean \"\($0)\"?)" } ?? "")
        }
    }
}
