internal import CArchive
internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

extension TreeWriter {
    private static let prefix: StaticString = ".wh."
    private static let reserved: StaticString = ".wh..wh."

    /// Turns OCI's whiteout files into overlay's: a device 0:0 in place of the hidden name, an attribute on an opaque folder.
    ///
    /// Order doesn't matter: an entry of the same layer always stands, hidden is only what lies below.
    /// - Returns: true when the entry was a whiteout and is done.
    func whiteout(_ path: EntryPath) throws(LunetteError) -> Bool {
        // A folder that was written to has passed this already.
        for ancestor in isKnown(path) ? [] : path.ancestors {
            let name = ancestor[ancestor.index(after: ancestor.lastIndex(of: CChar(UInt8(ascii: "/"))) ?? -1)...]
            // `.wh..wh.plnk/…`: bookkeeping of aufs that old images carry.
            if Array(name).hasPrefix(Self.reserved) { return true }
            if Array(name).hasPrefix(Self.prefix) { throw refuse(path.text, "lies in a whiteout") }
        }
        guard path.name.hasPrefix(Self.prefix) else { return false }
        if path.name.equals(".wh..wh..opq") {
            let folder = path.parent.count == 1 ? root : try parent(of: path)
            try setOpaque(folder, path)
            return true
        }
        if path.name.hasPrefix(Self.reserved) { return true }
        let hidden = Array(path.name.dropFirst(Self.prefix.utf8CodeUnitCount))
        guard hidden.count > 1, !hidden.equals("."), !hidden.equals("..") else { throw refuse(path.text, "is a whiteout of no name") }
        var target = path
        target.name = hidden
        let parent = try parent(of: path)
        let made = lnt_host_mknodat(parent, hidden, 0o020000, 0, 0)
        if made == -ErrorNumber.exists {
            if try kind(parent, target).isFolder {
                let fd = lnt_host_openat2(parent, hidden, OpenFlags([.directory, .noFollow]).rawValue, 0, ResolveScope.beneath.rawValue)
                if fd < 0 { throw failure("open folder", target, -fd) }
                defer { _ = lnt_host_close(fd) }
                try setOpaque(fd, target)
            }
            return true
        }
        if made < 0 { throw failure("make whiteout", target, -made) }
        return true
    }

    func setOpaque(_ folder: Int32, _ path: EntryPath) throws(LunetteError) {
        let result = lnt_host_fsetxattr(folder, UserNamespace.current.overlayAttributes + "opaque", "y", 1)
        if result < 0 { throw failure("make opaque", path, -result) }
    }

    /// Sets the entry's extended attributes on an open file or folder.
    func attributes(_ archive: OpaquePointer, _ entry: lnt_entry, _ fd: Int32, _ path: EntryPath) throws(LunetteError) {
        guard entry.xattr_count > 0 else { return }
        var name: UnsafePointer<CChar>?
        var value: UnsafeRawPointer?
        var size = 0
        while lnt_tar_xattr(archive, &name, &value, &size) == 1 {
            guard let raw = name else { continue }
            let attribute = String(cString: raw)
            // These speak to overlay itself: a layer could redirect, hide or make opaque what is not its own (attack 43).
            if attribute.hasPrefix("trusted.overlay.") || attribute.hasPrefix("user.overlay.") {
                throw refuse(path.text, "has the attribute \"\(displayable(attribute, limit: 80))\", which is overlay's own")
            }
            // Labels and signatures of the machine that made the image mean nothing here.
            if attribute.hasPrefix("security."), attribute != "security.capability" { continue }
            let result = lnt_host_fsetxattr(fd, raw, value, size)
            // A file system without user attributes or ACLs still takes the file.
            if -result == ErrorNumber.notSupported, attribute != "security.capability" { continue }
            if result < 0 { throw failure("set attribute \(displayable(attribute, limit: 80)) of", path, -result) }
        }
    }
}
