import Glibc
import LunetteAPI
import LunetteLinux
import LunetteSpec

/// Resident code on the disk: `init.lua` and `conf.d/*.lua` of the settings' folder, and the modules in `lua/` beside them.
struct ResidentFiles: Sendable {
    let folder: String
    private static let limit = 1 << 20

    /// In the order in which they are loaded: `init.lua`, then `conf.d` by name. Blocks.
    /// - Throws: `denied` for what others than the engine's user may write; what reading answers.
    func scripts() throws(LunetteError) -> [ResidentScript] {
        guard let top = try open(folder) else { return [] }
        var scripts: [ResidentScript] = []
        if let source = try read("init.lua", in: top) { scripts.append(ResidentScript(name: "init", file: "init.lua", source: source)) }
        guard let more = try open("\(folder)/conf.d") else { return scripts }
        let names = try atBorder("list \(more.label)") { () throws(SystemCallError) in try more.entries() }
        for name in names.sorted() where name.hasSuffix(".lua") && !name.hasPrefix(".") {
            guard let source = try read(name, in: more) else { continue }
            scripts.append(ResidentScript(name: "conf.d/\(name.dropLast(4))", file: "conf.d/\(name)", source: source))
        }
        return scripts
    }

    /// The source of a module, by its name. Blocks.
    /// - Returns: nil when no such module lies in `lua/`.
    func module(_ name: String) throws(LunetteError) -> [UInt8]? {
        let candidates = try ModuleName.candidates(name)
        guard let folder = try open("\(folder)/lua") else { return nil }
        for candidate in candidates { if let source = try read(candidate, in: folder) { return source } }
        return nil
    }

    private func open(_ path: String) throws(LunetteError) -> Directory? {
        let directory: Directory
        let status: FileStatus
        do throws(SystemCallError) {
            directory = try Directory(path)
            status = try fileStatus(directory.descriptor.number, "", follow: false, label: path)
        } catch {
            if error.errno == ErrorNumber.noEntry || error.errno == ErrorNumber.notDirectory { return nil }
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
