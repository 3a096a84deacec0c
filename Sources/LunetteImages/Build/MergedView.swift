internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

/// Looks at an image's layers as overlay would show them, without mounting anything. Snapshots don't change, so nothing here races.
struct MergedView {
    /// Open roots of the unpacked layers, top first.
    let layers: [Directory]

    struct Found {
        var layer: Directory
        var path: String
        var status: FileStatus
    }

    init(_ paths: [String]) throws(LunetteError) {
        var layers: [Directory] = []
        for path in paths { layers.append(try atBorder("open layer") { () throws(SystemCallError) in try Directory(path) }) }
        self.layers = layers
    }

    /// What stands at a path without links in it; nil when nothing does, or a layer hides it.
    func lookUp(_ parts: [String]) throws(LunetteError) -> Found? {
        for layer in layers {
            var path = ""
            var status = try stat(layer, "")
            var isOpaque = false
            for (index, part) in parts.enumerated() {
                path += (index == 0 ? "" : "/") + part
                status = try stat(layer, path)
                guard let found = status else { break }
                if index + 1 < parts.count {
                    // A file, a link or a whiteout above the path: what is below it in lower layers is hidden.
                    if found.kind != .directory { return nil }
                    if try self.isOpaque(layer, path) { isOpaque = true }
                }
            }
            if let found = status {
                let isWhiteout = found.kind == .characterDevice && found.deviceMajor == 0 && found.deviceMinor == 0
                return isWhiteout ? nil : Found(layer: layer, path: path, status: found)
            }
            if isOpaque { return nil }
        }
        return nil
    }

    private func stat(_ layer: Directory, _ path: String) throws(LunetteError) -> FileStatus? {
        do throws(SystemCallError) { return try fileStatus(layer.descriptor.number, path, follow: false, label: path) } catch {
            if error.errno == ErrorNumber.noEntry || error.errno == ErrorNumber.notDirectory { return nil }
            throw error.lunette
        }
    }

    private func isOpaque(_ layer: Directory, _ path: String) throws(LunetteError) -> Bool {
        let folder = try atBorder("open \(displayable(path))") { () throws(SystemCallError) in try layer.openDirectory(path) }
        var value: UInt8 = 0
        let name = UserNamespace.current.overlayAttributes + "opaque"
        return lnt_host_fgetxattr(folder.descriptor.number, name, &value, 1) == 1 && value == UInt8(ascii: "y")
    }

    /// Follows the links of a path inside the image; what doesn't exist is taken as it is written.
    /// - Throws: `invalid_argument` for a circle of links.
    func resolve(_ path: String, followingLast: Bool = true) throws(LunetteError) -> [String] {
        var done: [String] = []
        var rest = path.pathParts.map(String.init)
        var links = 0
        while !rest.isEmpty {
            let part = rest.removeFirst()
            if part == "." { continue }
            if part == ".." {
                _ = done.popLast()
                continue
            }
            let here = done + [part]
            if let found = try lookUp(here), found.status.kind == .symbolicLink, followingLast || !rest.isEmpty {
                links += 1
                guard links <= 40 else {
                    throw LunetteError(.invalidArgument, "the path \"\(displayable(path))\" goes round in links in the image")
                }
                let target = try link(found)
                if target.hasPrefix("/") { done = [] }
                rest = target.pathParts.map(String.init) + rest
            } else {
                done = here
            }
        }
        return done
    }

    func link(_ found: Found) throws(LunetteError) -> String {
        try atBorder(nil) { () throws(SystemCallError) in try readLink(found.path, in: found.layer) }
    }

    /// A file's content, links followed inside the image; nil when it is absent or no plain file.
    func read(_ path: String, limit: Int) throws(LunetteError) -> [UInt8]? {
        guard let found = try lookUp(try resolve(path)), found.status.kind == .regular, found.status.size <= Int64(limit) else {
            return nil
        }
        return try atBorder("read \(path)") { () throws(SystemCallError) in
            try found.layer.open(found.path, [.noFollow, .nonblocking]).readAll(limit: limit)
        }
    }
}
