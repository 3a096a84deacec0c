internal import CLinux
internal import LunetteLinux
internal import LunetteSpec

// A layer's tar need not describe the folders it only passes through: `tmp/x` without `tmp`. Overlay shows a folder as its topmost layer has it,
// so the 0755 that such a folder got when the layer was unpacked alone would hide the 1777 of the layer below. Where that would happen the layer
// gets a second snapshot under its chain's name, with those folders made as they are below.
extension ImageStore {
    /// Unpacks again each layer of `image` that would make a lower layer's folder look otherwise. All its own snapshots are in place.
    func chain(_ image: StoredImage) throws(LunetteError) -> [SnapshotStore.Pending] {
        var made: [SnapshotStore.Pending] = []
        var lower: [String] = []
        let chainIDs = image.chainIDs
        for (index, diffID) in image.config.diffIDs.enumerated() {
            let own = Self.chainName(chainIDs[index])
            if try snapshots.has(own) {
                withState { _ = $0.chained.insert(own) }
                lower.append(own)
                continue
            }
            var looks: [(path: String, look: Look)] = []
            for path in index == 0 ? [] : try snapshots.implied(of: diffID.hex) {
                if let look = try look(path, in: lower), look.mode != 0o755 || look.uid != 0 || look.gid != 0 { looks.append((path, look)) }
            }
            guard !looks.isEmpty else {
                lower.append(diffID.hex)
                continue
            }
            var pending = try snapshots.begin(own)
            pending.final = own
            do throws(LunetteError) {
                let layer = image.manifest.layers[index]
                _ = try LayerUnpacker.unpack(
                    blob: try content.open(layer.digest), into: pending.folder, diffID: diffID, layer: layer.digest.description,
                    limits: limits)
                // Deepest first: setting a folder's times needs no look at what is above it, but keeps order plain.
                for (path, look) in looks.reversed() { try look.apply(to: path, in: pending.folder) }
            } catch {
                snapshots.discard(pending)
                throw error
            }
            made.append(pending)
            // Layers above see the same folder as before, only with the right owner: the unpublished one will do for `lower` by its plain twin.
            lower.append(diffID.hex)
        }
        return made
    }

    private func look(_ path: String, in lower: [String]) throws(LunetteError) -> Look? {
        for name in lower.reversed() {
            let fd: Int32
            do throws(SystemCallError) {
                let root = try snapshots.directory.openDirectory(name).openDirectory("fs")
                fd =
                    path.isEmpty
                    ? lnt_host_dup(root.descriptor.number, 3)
                    : lnt_host_openat2(
                        root.descriptor.number, path, OpenFlags([.directory, .noFollow]).rawValue, 0,
                        ResolveScope([.beneath, .noSymbolicLinks]).rawValue)
            } catch { throw error.lunette }
            if fd < 0 {
                if -fd == ErrorNumber.noEntry { continue }
                // A whiteout or a file in between: what is further down is hidden.
                return nil
            }
            let folder = FileDescriptor(owning: fd)
            // This layer didn't describe it either: the one below may.
            if try snapshots.implied(of: name).contains(path) { continue }
            var status = lnt_host_stat()
            let result = lnt_host_stat(folder.number, "", 0x1000, &status)
            if result < 0 { throw SystemCallError("stat", path, errno: -result).lunette }
            return Look(
                mode: status.mode & 0o7777, uid: status.uid, gid: status.gid, seconds: status.mtime_seconds,
                nanoseconds: status.mtime_nanoseconds)
        }
        return nil
    }
}

private struct Look: Equatable {
    var mode: UInt32
    var uid: UInt32
    var gid: UInt32
    var seconds: Int64
    var nanoseconds: UInt32

    func apply(to path: String, in root: Directory) throws(LunetteError) {
        try atBorder("make folder \(displayable(path)) as it is below") { () throws(SystemCallError) in
            let folder = path.isEmpty ? root : try root.openDirectory(path)
            let fd = folder.descriptor.number
            let times = (seconds: [seconds, seconds], nanoseconds: [Int64(nanoseconds), Int64(nanoseconds)])
            try check(lnt_host_fchownat(fd, "", uid, gid, 0x1000), "chown", path)
            try check(lnt_host_fchmod(fd, mode), "chmod", path)
            try check(lnt_host_utimensat(fd, "", times.seconds, times.nanoseconds, 0x1000), "set times", path)
        }
    }
}
