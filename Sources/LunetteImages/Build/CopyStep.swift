internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

/// Writes a build's `copy` items into one layer. Blocks.
struct CopyStep {
    let spec: BuildSpec
    let view: MergedView
    let writer: LayerWriter
    private var made: Set<String> = []

    init(_ spec: BuildSpec, view: MergedView, writer: LayerWriter) {
        self.spec = spec
        self.view = view
        self.writer = writer
    }

    private func failure(_ item: BuildSpec.Copy, _ why: String, hint: String? = nil) -> LunetteError {
        LunetteError(
            .invalidArgument, "copy \"\(displayable(item.from))\" to \"\(displayable(item.to))\": \(why)", path: "copy", hint: hint)
    }

    mutating func run() throws(LunetteError) {
        for item in spec.copy { try copy(item) }
    }

    private mutating func copy(_ item: BuildSpec.Copy) throws(LunetteError) {
        guard item.to.hasPrefix("/") else { throw failure(item, "\"to\" must be an absolute path in the image") }
        let owner = try owner(item)
        let source: FileDescriptor
        do throws(SystemCallError) {
            // What the user names is followed; what lies in a folder is copied as it is.
            source = try Directory("/").open(String(item.from.drop { $0 == "/" }), [.nonblocking], scope: [])
        } catch {
            throw LunetteError(
                errorCode(forErrno: error.errno), "copy \"\(displayable(item.from))\": \(errnoText(error.errno))", target: item.from,
                errno: error.errno)
        }
        let status = try atBorder("copy \(displayable(item.from))") { () throws(SystemCallError) in
            try fileStatus(source.number, "", follow: false, label: item.from)
        }
        let name = item.from.pathParts.last.map(String.init) ?? ""
        switch status.kind {
        case .directory:
            let target = try view.resolve(item.to)
            try folders(target)
            // A folder that is new in the image looks like the one that it came from.
            if !target.isEmpty, try view.lookUp(target) == nil, made.insert("=" + target.joined(separator: "/")).inserted {
                try writer.add(entry(target.joined(separator: "/") + "/", .directory, status, item, owner, folderMode: status.permissions))
            }
            try tree(Directory(source, label: item.from), target, item, owner)
        case .regular:
            var target = try view.resolve(item.to, followingLast: item.to.hasSuffix("/"))
            // `to` names a folder: by its slash, or because the image has one there.
            if item.to.hasSuffix("/") || target.isEmpty {
                target.append(name)
            } else if let found = try view.lookUp(try view.resolve(item.to)), found.status.kind == .directory {
                target = try view.resolve(item.to) + [name]
            }
            try folders(Array(target.dropLast()))
            try writer.add(
                entry(target.joined(separator: "/"), .regular, status, item, owner, attributes(of: source.number)), file: source,
                status: status)
        default: throw failure(item, "it is neither a file nor a folder")
        }
    }

    /// Describes the folders above a path: those of the image as they are, missing ones as 0755.
    private mutating func folders(_ parts: [String]) throws(LunetteError) {
        for count in parts.indices.map({ $0 + 1 }) {
            let path = Array(parts.prefix(count))
            let joined = path.joined(separator: "/")
            guard made.insert(joined).inserted, !made.contains("=" + joined) else { continue }
            var entry = TarOutput.Entry(path: joined + "/", kind: .directory, mode: 0o755, seconds: spec.timestamp ?? 0)
            if let found = try view.lookUp(path) {
                guard found.status.kind == .directory else {
                    throw LunetteError(
                        .invalidArgument, "copy into \"/\(displayable(joined))\": it is no folder in the image", path: "copy")
                }
                entry.mode = found.status.permissions
                entry.uid = found.status.uid
                entry.gid = found.status.gid
                entry.seconds = found.status.modified.seconds
                entry.nanoseconds = found.status.modified.nanoseconds
            }
            try writer.add(entry)
        }
    }

    private mutating func tree(
        _ top: Directory, _ target: [String], _ item: BuildSpec.Copy, _ owner: (UInt32, UInt32)
    ) throws(LunetteError) {
        let what = "copy \(displayable(item.from))"
        var walk = try atBorder(what) { () throws(SystemCallError) in
            try TreeWalk(try top.open(".", [.directory]), label: top.label, sorted: true)
        }
        var targets = [target]
        while let step = try atBorder(what, { () throws(SystemCallError) in try walk.next() }) {
            switch step {
            case .end:
                try atBorder(what) { () throws(SystemCallError) in try walk.leave() }
                targets.removeLast()
            case .entry(let raw):
                let folder = walk.directory
                guard let (child, place) = try copyEntry(text(of: raw), of: folder, targets[targets.count - 1], item, owner) else {
                    continue
                }
                try atBorder(what) { () throws(SystemCallError) in try walk.enter(raw, child.descriptor) }
                targets.append(place)
            }
        }
    }

    /// - Returns: a folder, whose entries come next, and its place in the image.
    private mutating func copyEntry(
        _ name: String, of folder: Directory, _ target: [String], _ item: BuildSpec.Copy, _ owner: (UInt32, UInt32)
    ) throws(LunetteError) -> (Directory, [String])? {
        let what = "copy \(displayable(folder.label))"
        guard let status = try atBorder(what, { () throws(SystemCallError) in try folder.status(name) }) else { return nil }
        // Through a link of the image (`/lib -> usr/lib`), unless this replaces the link itself.
        let place = status.kind == .directory ? try view.resolve((target + [name]).joined(separator: "/")) : target + [name]
        let path = place.joined(separator: "/")
        switch status.kind {
        case .directory:
            let child = try atBorder(what) { () throws(SystemCallError) in try folder.openDirectory(name) }
            if made.insert(path).inserted {
                try writer.add(
                    entry(
                        path + "/", .directory, status, item, owner, attributes(of: child.descriptor.number), folderMode: status.permissions
                    ))
            }
            return (child, place)
        case .regular:
            let file = try atBorder(what) { () throws(SystemCallError) in try folder.open(name, [.noFollow, .nonblocking]) }
            try writer.add(entry(path, .regular, status, item, owner, attributes(of: file.number)), file: file, status: status)
        case .symbolicLink:
            var entry = entry(path, .symbolicLink, status, item, owner)
            let found = MergedView.Found(layer: folder, path: name, status: status)
            entry.link = try view.link(found)
            entry.mode = 0o777
            try writer.add(entry)
        case .fifo: try writer.add(entry(path, .fifo, status, item, owner))
        // A socket without its server is nothing.
        case .socket: break
        default:
            throw failure(
                item, "\"\(displayable(folder.label))/\(displayable(name))\" is a device",
                hint: "leave it out: every container has its own /dev")
        }
        return nil
    }

    private func entry(
        _ path: String, _ kind: FileKind, _ status: FileStatus, _ item: BuildSpec.Copy, _ owner: (UInt32, UInt32),
        _ attributes: [(name: String, value: [UInt8])] = [], folderMode: UInt32? = nil
    ) -> TarOutput.Entry {
        var seconds = status.modified.seconds
        var nanoseconds = status.modified.nanoseconds
        if let bound = spec.timestamp, seconds >= bound { (seconds, nanoseconds) = (bound, 0) }
        return TarOutput.Entry(
            path: path, kind: kind, mode: folderMode ?? item.mode ?? status.permissions, uid: owner.0, gid: owner.1, seconds: seconds,
            nanoseconds: nanoseconds, attributes: attributes)
    }

    /// `uid`, `uid:gid` or names that the image's own passwd and group know.
    private func owner(_ item: BuildSpec.Copy) throws(LunetteError) -> (UInt32, UInt32) {
        guard let owner = item.owner else { return (0, 0) }
        let parts = owner.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let user = try id(parts[0], in: "/etc/passwd", item)
        let group = parts.count > 1 ? try id(parts[1], in: "/etc/group", item).0 : user.1 ?? user.0
        return (user.0, group)
    }

    private func id(_ text: String, in file: String, _ item: BuildSpec.Copy) throws(LunetteError) -> (UInt32, UInt32?) {
        if let number = UInt32(text), text.utf8.allSatisfy({ (48...57).contains($0) }) {
            guard number <= 65535 else { throw failure(item, "the owner id \(number) is larger than 65535") }
            return (number, nil)
        }
        let content = String(decoding: try view.read(file, limit: 1 << 20) ?? [], as: UTF8.self)
        for line in content.byteLines {
            let fields = line.fields(at: ":")
            if fields.count > 3, fields[0] == text, let number = UInt32(fields[2]) {
                return (number, file == "/etc/passwd" ? UInt32(fields[3]) : nil)
            }
        }
        throw failure(
            item, "the image's \(file) has no \"\(displayable(text, limit: 60))\"",
            hint: "write the owner as numbers, such as \"1000:1000\"")
    }
}
