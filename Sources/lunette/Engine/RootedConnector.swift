import Glibc
import LunetteAPI
import LunetteSpec
import Synchronization

/// Leads to the engine of a state folder where the caller has also named a root: an engine that works on another root isn't the one that was meant,
/// and what is pruned or removed there would be somebody else's.
///
/// Where the caller has named a folder of settings, an engine that runs with another goes on with its own: that is told, once.
struct RootedConnector: EngineConnector {
    let connector: any EngineConnector
    let settings: Settings
    private static let hasWarned = Mutex(false)

    func connect(receiver: (any HookReceiver)?) async throws(LunetteError) -> any EngineSession {
        let session = try await connector.connect(receiver: receiver)
        do throws(LunetteError) {
            let actor = Actor(uid: geteuid(), gid: getegid(), pid: getpid(), script: "lunette")
            let request = APIRequest(id: RequestID.fresh(), function: "system.ping", arguments: [:], actor: actor)
            let answer = try await session.call(request, files: [], onChunk: nil)
            warn(ofSettings: answer["config"]?.stringValue)
            // An engine of an earlier version doesn't say.
            guard settings.isRootNamed, let found = answer["root"]?.stringValue, found != settings.root,
                !Self.isSame(found, settings.root)
            else { return session }
            throw LunetteError(
                .conflict, "the engine of the state folder \(settings.state) works on the root \(found), not on \(settings.root)",
                hint: "name its own root, or give --state a folder for the engine of this one")
        } catch {
            await session.close()
            throw error
        }
    }

    private func warn(ofSettings found: String?) {
        guard settings.isConfigurationNamed, settings.isForPeople, let found, let wanted = settings.configuration, found != wanted,
            !Self.isSame(found, wanted)
        else { return }
        let isFirst = Self.hasWarned.withLock { warned in
            defer { warned = true }
            return !warned
        }
        guard isFirst else { return }
        Output.note(
            "lunette: warning: the engine that runs has its settings in \(Text.safe(found)), not in \(Text.safe(wanted)): "
                + "they hold until it ends")
    }

    private static func isSame(_ one: String, _ other: String) -> Bool {
        var (first, second) = (stat(), stat())
        return stat(one, &first) == 0 && stat(other, &second) == 0 && first.st_dev == second.st_dev && first.st_ino == second.st_ino
    }
}
