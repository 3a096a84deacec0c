import Glibc
import LunetteAPI
import LunetteLinux
import LunetteSpec

/// Resident code on the disk: `init.lua` and `conf.d/*.lua` of the settings' folder, and the modules in `lua/` beside them.
struct ResidentFiles: Sendable {
    let folder: String
    private static let limit = 1 << 20

    /// In the order in which they are loaded: `init.lua`, then `conf.d` by name. Blocks.
    /// - Returns: nil when there is no such folder.
    /// - Throws: `denied` for what others than the engine's user may write; `invalid_argument` for a name that can't be a script's; what reading
    ///   answers.
    func scripts() throws(LunetteError) -> [ResidentScript]? {
        guard let top = try openTop() else { return nil }
        var scripts: [ResidentScript] = []
        if let source = try read("init.lua", in: top) { scripts.append(ResidentScript(name: "init", file: "init.lua", source: source)) }
        guard let more = try open("conf.d", in: top) else { return scripts }
        let names = try atBorder("list \(more.label)") { () throws(SystemCallError) in try more.entries() }
        for name in names.sorted() where name.hasSuffix(".lua") && !name.hasPrefix(".") {
            // What can't be told apart, or read by its name, would be left out without a word.
            guard name.utf8.allSatisfy({ (0x21...0x7e).contains($0) && $0 != UInt8(ascii: "\\") }) else {
                throw LunetteError(
                    .invalidArgument, "load \(more.label)/\(displayable(name, limit: 80)): a script's name is ASCII without blanks",
                    target: name,
                    hint: "rename it, or give it another ending than .lua to leave it out")
            }
            guard let source = try read(name, in: more) else { continue }
            scripts.append(ResidentScript(name: "conf.d/\(name.dropLast(4))", file: "conf.d/\(name)", source: source))
        }
        return scripts
    }

    /// The source of a module, by its name. Blocks.
    /// - Returns: nil when no such module lies in `lua/`.
    func module(_ name: String) throws(LunetteError) -> [UInt8]? {
        let candidates = try ModuleName.candidates(name)
        guard let top = try openTop(), let folder = try open("lua", in: top) else { return nil }
        candidates: for candidate in candidates {
            var place = folder
            let parts = candidate.pathParts.map(String.init)
            // Each folder on the way: whoever may write to one decides what the module is.
            for part in parts.dropLast() {
                guard let next = try open(part, in: place) else { continue candidates }
                place = next
            }
            if let source = try read(parts[parts.count - 1], in: place) { return source }
        }
        return nil
    }

    /// The settings' folder, which may be a link: it is named by whoever starts the engine.
    private func openTop() throws(LunetteError) -> Directory? {
        let directory: Directory
        let status: FileStatus
        do throws(SystemCallError) {
            directory = try Directory(following: folder)
            status = try fileStatus(directory.descriptor.number, "", follow: false, label: folder)
        } catch {
            if error.errno == ErrorNumber.noEntry { return nil }
            var failure = error.lunette
            failure.message = "load resident code from \(folder): \(failure.message)"
            throw failure
        }
        try refuseOthers(status, folder)
        return directory
    }

    private func open(_ name: String, in parent: Directory) throws(LunetteError) -> Directory? {
        let path = "\(parent.label)/\(name)"
        let directory: Directory
        let status: FileStatus
        do throws(SystemCallError) {
            directory = Directory(try parent.open(name, [.directory, .noFollow]), label: path)
            status = try fileStatus(directory.descriptor.number, "", follow: false, label: path)
        } catch {
            if error.errno == ErrorNumber.noEntry { return nil }
            // Left out in silence, its policies would be missing.
            if error.errno == ErrorNumber.notDirectory || error.errno == ErrorNumber.loop || error.errno == ErrorNumber.crossDevice {
                throw LunetteError(
                    .invalidArgument, "load \(path): it is no folder", target: path,
                    hint: "a link or a file stands there: put the folder itself there, or name its place by --config")
            }
            throw error.lunette
        }
        try refuseOthers(status, path)
        return directory
    }

    private func read(_ name: String, in folder: Directory) throws(LunetteError) -> [UInt8]? {
        let path = "\(folder.label)/\(name)"
        let file: FileDescriptor
        let status: FileStatus
        do throws(SystemCallError) {
            // Neither a fifo is waited for nor a link followed out of the folder.
            file = try folder.open(name, [.nonblocking])
            status = try fileStatus(file.number, "", follow: false, label: path)
        } catch {
            if error.errno == ErrorNumber.noEntry || error.errno == ErrorNumber.notDirectory { return nil }
            throw error.lunette
        }
        guard status.kind == .regular else {
            throw LunetteError(.invalidArgument, "load \(path): it is no file", target: path)
        }
        try refuseOthers(status, path)
        return try atBorder("load \(path)") { () throws(SystemCallError) in try file.readAll(limit: ResidentFiles.limit) }
    }

    /// Whoever writes this code does what the engine may.
    private func refuseOthers(_ status: FileStatus, _ path: String) throws(LunetteError) {
        guard status.uid != 0 && status.uid != geteuid() || status.permissions & 0o022 != 0 else { return }
        throw LunetteError(
            .denied, "load \(path): others than the engine's user may change it", target: path,
            hint: "resident code does what the engine may: chown it to the engine's user and chmod go-w")
    }
}
