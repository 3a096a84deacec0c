internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

/// Writes an overlay's upper folder as a layer: whiteouts go back to OCI's `.wh.` form, names come in order. Blocks.
struct UpperDiff {
    let writer: LayerWriter
    /// Times after this become this; nil leaves them.
    let timestamp: Int64?

    func write(_ upper: Directory) throws(LunetteError) {
        let what = "read what the command changed"
        var walk = try atBorder(what) { () throws(SystemCallError) in
            try TreeWalk(try upper.open(".", [.directory]), label: upper.label, sorted: true)
        }
        while let step = try atBorder(what, { () throws(SystemCallError) in try walk.next() }) {
            switch step {
            case .end: try atBorder(what) { () throws(SystemCallError) in try walk.leave() }
            case .entry(let raw):
                let (name, directory) = (text(of: raw), walk.directory)
                guard let status = try atBorder(what, { () throws(SystemCallError) in try directory.status(name) }) else { continue }
                let prefix = walk.depth == 0 ? "" : String(decoding: walk.path.bytes, as: UTF8.self) + "/"
                if let child = try add(name, status, directory, prefix) {
                    try atBorder(what) { () throws(SystemCallError) in try walk.enter(raw, child.descriptor) }
                }
            }
        }
    }

    /// - Returns: a folder, whose entries come next.
    private func add(_ name: String, _ status: FileStatus, _ directory: Directory, _ prefix: String) throws(LunetteError) -> Directory? {
        let path = prefix + name
        guard !name.hasPrefix(".wh.") else {
            throw LunetteError(.unsupported, "the command made \"\(displayable(path))\": no layer can hold a name that begins with .wh.")
        }
        var entry = TarOutput.Entry(
            path: path, kind: status.kind ?? .regular, mode: status.permissions, uid: status.uid, gid: status.gid,
            seconds: status.modified.seconds,
            nanoseconds: status.modified.nanoseconds)
        if let timestamp, entry.seconds >= timestamp { (entry.seconds, entry.nanoseconds) = (timestamp, 0) }
        let seconds = timestamp ?? 0
        switch status.kind {
        case .characterDevice where status.deviceMajor == 0 && status.deviceMinor == 0:
            try writer.add(.init(path: "\(prefix).wh.\(name)", mode: 0o600, seconds: seconds))
        case .directory:
            let child = try atBorder("read \(displayable(path))") { () throws(SystemCallError) in try directory.openDirectory(name) }
            entry.path += "/"
            entry.attributes = attributes(of: child.descriptor.number)
            try writer.add(entry)
            if try overlayAttribute(child.descriptor.number, "redirect", path) != nil {
                throw LunetteError(
                    .unsupported, "the command renamed the folder \"\(displayable(path))\" of a lower layer by overlay's redirect")
            }
            if try overlayAttribute(child.descriptor.number, "opaque", path) == UInt8(ascii: "y") {
                try writer.add(.init(path: "\(path)/.wh..wh..opq", mode: 0o600, seconds: seconds))
            }
            return child
        case .regular:
            let file = try atBorder("read \(displayable(path))") { () throws(SystemCallError) in
                try directory.open(name, [.noFollow, .nonblocking])
            }
            entry.attributes = attributes(of: file.number)
            try writer.add(entry, file: file, status: status)
        case .symbolicLink:
            entry.mode = 0o777
            entry.link = try atBorder(nil) { () throws(SystemCallError) in try readLink(name, in: directory) }
            try writer.add(entry)
        case .socket: break
        default:
            entry.device = (status.deviceMajor, status.deviceMinor)
            try writer.add(entry)
        }
        return nil
    }

    private func overlayAttribute(_ fd: Int32, _ name: String, _ path: String) throws(LunetteError) -> UInt8? {
        var value = [UInt8](repeating: 0, count: 4096)
        let size = lnt_host_fgetxattr(fd, UserNamespace.current.overlayAttributes + name, &value, value.count)
        return size > 0 ? value[0] : nil
    }
}
