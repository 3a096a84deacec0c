import Glibc
import LunetteLinux
import LunetteSpec

/// An ordinary user's way to an engine: into a user namespace where the user is root, then once more through `execve`.
///
///   lunette daemon (uid 1000) ── a shim of an earlier engine lives? ── yes ─► setns(its user namespace), unshare(mount)
///                                                                   └─ no ──► unshare(user, mount), newuidmap, newgidmap
///        └─► execve(lunette --root … --state … daemon) as 0 in there
///
/// All of the engine then works as root's does: it unpacks, mounts overlays, changes owners, over the ids that are the user's.
enum UserEngine {
    /// Does nothing for root. Returns only then; otherwise this process goes on as another, from its beginning.
    ///
    /// Called before there is a second thread.
    /// - Parameter settings: whose places are handed on: in there the user would be taken for the machine's root.
    static func enter(_ settings: Settings) throws(LunetteError) {
        guard geteuid() != 0 else { return }
        do throws(LunetteError) {
            try UserPlaces.verify(settings)
            if try !joinLiving(settings) {
                let offer = UserNamespace.offer(uid: geteuid(), gid: getegid())
                try StoreOwner.check(offer.namespace, root: settings.root)
                if let shortage = offer.shortage, offer.namespace.isSingle { warn(shortage) }
                try UserNamespace.make(offer)
            }
            try execute(settings)
        } catch {
            // Who started us waits for a word.
            Readiness().report(JSON.encode(error.value))
            throw error
        }
    }

    /// The namespace of a container that goes on: the next engine must reach its processes.
    private static func joinLiving(_ settings: Settings) throws(LunetteError) -> Bool {
        for shims in ShimScan.find(below: "\(settings.state)/containers").values {
            for shim in shims where try UserNamespace.join(of: shim) { return true }
        }
        return false
    }

    private static func warn(_ shortage: LunetteError) {
        Output.note("lunette: warning: \(shortage.message)\nhint: \(shortage.hint ?? "")")
    }

    /// The same command again. A program that changes its ids keeps no right to its own /proc, and threads could not be here yet: a new
    /// start has neither trouble.
    private static func execute(_ settings: Settings) throws(LunetteError) {
        let words = [CommandLine.arguments[0]] + settings.arguments + Array(CommandLine.arguments.dropFirst())
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        execv("/proc/self/exe", &arguments)
        let failed = errno
        throw LunetteError(.io, "start the engine again in its user namespace: \(String(cString: strerror(failed)))", errno: failed)
    }
}

/// Remembers by which ids the files of a store are owned: another range in /etc/subuid would give them all to somebody else.
enum StoreOwner {
    private static let name = "ids"

    /// - Throws: `invalid_state` when the store was made with ids that the user no longer has.
    static func check(_ namespace: UserNamespace, root: String) throws(LunetteError) {
        try atBorder("use \(root) as the root directory") { () throws(SystemCallError) in
            let directory = try Directory(making: root)
            let text = "uids \(namespace.uids)\ngids \(namespace.gids)\n"
            guard let known = try directory.read(name, limit: 1 << 16).map({ String(decoding: $0, as: UTF8.self) }) else {
                return try directory.writeDurably(name, Array(text.utf8))
            }
            guard known != text else { return }
            if isKept(known, namespace) { try directory.writeDurably(name, Array(text.utf8)) }
        }
        let kept = try atBorder("use \(root) as the root directory") { () throws(SystemCallError) in
            try Directory(root).read(name, limit: 1 << 16).map { String(decoding: $0, as: UTF8.self) } ?? ""
        }
        guard isKept(kept, namespace) else {
            // Not `conflict`: that would mean an engine that was faster, which its starter waits for.
            throw LunetteError(
                .invalidState, "use \(root): its files belong to other ids than /etc/subuid and /etc/subgid give now", target: root,
                hint: "give the user its old ranges back (\(root)/\(name) has them), or choose another --root and remove this one as root")
        }
    }

    /// More ids than before are no harm: each that was there must still be the same.
    static func isKept(_ text: String, _ namespace: UserNamespace) -> Bool {
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: " ")
            guard parts.count == 2 else { continue }
            let map = parts[0] == "uids" ? namespace.uids : namespace.gids
            guard IDMap(description: String(parts[1])).lines.allSatisfy(map.contains) else { return false }
        }
        return true
    }
}
