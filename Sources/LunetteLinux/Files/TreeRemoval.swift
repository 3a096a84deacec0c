internal import CLinux

extension Directory {
    /// Removes `name` and everything below it, by descriptor, without following links or leaving its file system.
    ///
    /// Removing the absent succeeds. Whatever fails is remembered, the rest is removed all the same, and the first failure is thrown.
    package func removeTree(_ name: String) throws(SystemCallError) {
        guard let status = try status(name) else { return }
        guard status.kind == .directory else { return try removeFile(name) }
        var first: SystemCallError?
        try removeEntry(Array(name.utf8CString), below: descriptor.number, mount: status.mountID, label: label, first: &first)
        if let first { throw first }
    }

    /// Removes everything in this directory but keeps it.
    package func removeContents() throws(SystemCallError) {
        let mount = try fileStatus(descriptor.number, "", follow: false, label: label).mountID
        var first: SystemCallError?
        removeEntries(of: descriptor.number, mount: mount, label: label, first: &first)
        if let first { throw first }
    }
}

// Raw names: a container may have made files whose names are no UTF-8, and they must go too.
func rawEntries(of directory: Int32, label: String) throws(SystemCallError) -> [[CChar]] {
    var names: [[CChar]] = []
    var buffer = [UInt8](repeating: 0, count: 32768)
    _ = lnt_host_seek(directory, 0, 0)
    while true {
        let count = try check(lnt_host_getdents(directory, &buffer, buffer.count), "list", label)
        if count == 0 { return names }
        var offset = 0
        while offset < count {
            let length = Int(buffer[offset + 16]) | Int(buffer[offset + 17]) << 8
            var name = buffer[(offset + 19)..<(offset + length)].prefix { $0 != 0 }.map { CChar(bitPattern: $0) }
            let isDot = name == [46] || name == [46, 46]
            name.append(0)
            if !isDot { names.append(name) }
            offset += length
        }
    }
}

private func removeEntries(of directory: Int32, mount: UInt64, label: String, first: inout SystemCallError?) {
    do throws(SystemCallError) {
        for name in try rawEntries(of: directory, label: label) {
            do throws(SystemCallError) { try removeEntry(name, below: directory, mount: mount, label: label, first: &first) } catch {
                if first == nil { first = error }
            }
        }
    } catch {
        if first == nil { first = error }
    }
}

private func removeEntry(
    _ name: [CChar], below directory: Int32, mount: UInt64, label: String, first: inout SystemCallError?
) throws(SystemCallError) {
    let shown = "\(label)/\(String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self))"
    let removeDirectory: Int32 = 0x200
    let plain = lnt_host_unlinkat(directory, name, 0)
    if plain == 0 || -plain == ErrorNumber.noEntry { return }
    guard -plain == ErrorNumber.isDirectory || -plain == ErrorNumber.permission else {
        throw SystemCallError("remove", shown, errno: -plain)
    }
    let flags = OpenFlags([.directory, .noFollow])
    let opened = lnt_host_openat2(directory, name, flags.rawValue, 0, ResolveScope.beneath.rawValue)
    if opened < 0 {
        if -opened == ErrorNumber.noEntry { return }
        throw SystemCallError("remove", shown, errno: -opened == ErrorNumber.notDirectory ? -plain : -opened)
    }
    let child = FileDescriptor(owning: opened)
    // Something mounted here (a leak, or somebody's bind): its content is not ours to delete.
    guard try fileStatus(child.number, "", follow: false, label: shown).mountID == mount else {
        throw SystemCallError("remove", "\(shown) (something is mounted there)", errno: ErrorNumber.busy)
    }
    removeEntries(of: child.number, mount: mount, label: shown, first: &first)
    child.close()
    let removed = lnt_host_unlinkat(directory, name, removeDirectory)
    if removed < 0, -removed != ErrorNumber.noEntry, first == nil { throw SystemCallError("remove directory", shown, errno: -removed) }
}
