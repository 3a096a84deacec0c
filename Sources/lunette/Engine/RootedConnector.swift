import Glibc
import LunetteAPI
import LunetteSpec

/// Leads to the engine of a state folder where the caller has also named a root: an engine that works on another root isn't the one that was meant,
/// and what is pruned or removed there would be somebody else's.
struct RootedConnector: EngineConnector {
    let connector: any EngineConnector
    let settings: Settings

    func connect(receiver: (any HookReceiver)?) async throws(LunetteError) -> any EngineSession {
        let session = try await connector.connect(receiver: receiver)
        do throws(LunetteError) {
            let actor = Actor(uid: geteuid(), gid: getegid(), pid: getpid(), script: "lunette")
            let request = APIRequest(id: RequestID.fresh(), function: "system.ping", arguments: [:], actor: actor)
            let found = try await session.call(request, files: [], onChunk: nil)["root"]?.stringValue
            // An engine of an earlier version doesn't say.
            guard let found, found != settings.root, !Self.isSame(found, settings.root) else { return session }
            throw LunetteError(
                .conflict, "the engine of the state folder \(settings.state) works on the root \(found), not on \(settings.root)",
                hint: "name its own root, or give --state a folder for the engine of this one")
        } catch {
            await session.close()
            throw error
        }
    }

    private static func isSame(_ one: String, _ other: String) -> Bool {
        var (first, second) = (stat(), stat())
        return stat(one, &first) == 0 && stat(other, &second) == 0 && first.st_dev == second.st_dev && first.st_ino == second.st_ino
    }
}
