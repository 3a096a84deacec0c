internal import CLinux
internal import LunetteLinux
package import LunetteSpec

/// What a container's upper layer changes of its image's files (overlayfs.rst: whiteouts are devices 0:0, opaque folders hide what is below).
package struct FileChange: Sendable, Equatable {
    package enum Kind: String, Sendable { case added, changed, removed }
    package var path: String
    package var kind: Kind
}

extension ContainerRuntime {
    /// Compares a container's upper with its image's layers. Reads by descriptor, follows no link, runs nothing.
    /// - Parameters:
    ///   - name: for messages.
    ///   - layers: top first.
    ///   - hidden: where the runtime itself puts mounts; an empty file or folder there is its own, not the container's.
    package func changes(id: String, name: String, layers: [String], hidden: Set<String>) async throws(LunetteError) -> [FileChange] {
        try ContainerPlaces.validate(id: id)
        let upper = "\(ContainerPlaces(configuration, id: id).storage)/upper"
        return try await blocking { () throws(LunetteError) in
            try atBorder("compare the files of container \(name) with its image") { () throws(SystemCallError) in
                let top: Directory
                do throws(SystemCallError) { top = try Directory(upper) } catch {
                    // Never started: nothing is changed.
                    if error.errno == ErrorNumber.noEntry { return [] }
                    throw error
                }
                var walk = ChangeWalk(image: try DetachedOverlay.make(lowers: layers), hidden: hidden)
                try walk.folder(top, "")
                return walk.changes
            }
        }
    }
}

/// One walk through an upper layer. Bounded: a container can make any number of files.
private struct ChangeWalk {
    static let limit = 100_000
    let image: Directory
    let hidden: Set<String>
    var changes: [FileChange] = []

    mutating func folder(_ directory: Directory, _ prefix: String) throws(SystemCallError) {
        for name in try directory.entries().sorted() {
            guard changes.count < Self.limit else {
                throw SystemCallError("list more than \(Self.limit) changed files", "", errno: ErrorNumber.tooBig)
            }
            guard let status = try directory.status(name) else { continue }
            let path = prefix + "/" + name
            if status.kind == .characterDevice, status.deviceMajor == 0, status.deviceMinor == 0 {
                changes.append(FileChange(path: path, kind: .removed))
                continue
            }
            let below = try below(path)
            guard status.kind == .directory else {
                if hidden.contains(path), below == nil, status.size == 0 { continue }
                changes.append(FileChange(path: path, kind: below == nil ? .added : .changed))
                continue
            }
            let child = Directory(try directory.open(name, [.directory, .noFollow]), label: path)
            if hidden.contains(path), below == nil, try child.entries().isEmpty { continue }
            changes.append(FileChange(path: path, kind: below == nil ? .added : .changed))
            if below?.kind == .directory, isOpaque(child) { try removed(path, hiding: child) }
            try folder(child, path)
        }
    }

    /// What the image has at a path; nil when there is nothing.
    private func below(_ path: String) throws(SystemCallError) -> FileStatus? {
        do throws(SystemCallError) {
            let found = try image.open(String(path.dropFirst()), [.path, .noFollow], scope: .inRoot)
            return try withExtendedLifetime(found) { () throws(SystemCallError) in
                try fileStatus(found.number, "", follow: false, label: path)
            }
        } catch {
            if [ErrorNumber.noEntry, ErrorNumber.notDirectory, ErrorNumber.loop].contains(error.errno) { return nil }
            throw error
        }
    }

    private func isOpaque(_ directory: Directory) -> Bool {
        var value = [UInt8](repeating: 0, count: 8)
        let size = lnt_host_fgetxattr(directory.descriptor.number, "trusted.overlay.opaque", &value, value.count)
        return size == 1 && value[0] == UInt8(ascii: "y")
    }

    /// What an opaque folder hides and hasn't made anew.
    private mutating func removed(_ path: String, hiding directory: Directory) throws(SystemCallError) {
        let lower = Directory(try image.open(String(path.dropFirst()), [.directory], scope: .inRoot), label: path)
        for name in try lower.entries().sorted() where try !directory.exists(name) {
            changes.append(FileChange(path: path + "/" + name, kind: .removed))
        }
    }
}
