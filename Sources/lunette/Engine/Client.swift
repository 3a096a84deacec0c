import Glibc
import LunetteAPI
import LunetteSpec

/// One command's way to the engine: over the socket, or in this process.
final class Client: Sendable {
    let settings: Settings
    private let script: String
    private let link: ClientLink

    /// - Parameter script: what the engine's events call the caller (`lunette run`).
    init(settings: Settings, script: String) {
        self.settings = settings
        self.script = script
        link = ClientLink(settings: settings)
    }

    /// Calls a function of the API.
    func call(
        _ function: String, _ arguments: ValueMap = [:], files: [Int32] = [], id: String = RequestID.fresh(),
        onChunk: (@Sendable (Value) async throws(LunetteError) -> Void)? = nil
    ) async throws(LunetteError) -> Value {
        let actor = Actor(uid: geteuid(), gid: getegid(), pid: getpid(), script: script)
        let request = APIRequest(id: id, function: function, arguments: .map(arguments), actor: actor)
        return try await link.session().call(request, files: files, onChunk: onChunk)
    }

    func close() async { await link.close() }
}

private actor ClientLink {
    private let settings: Settings
    private var opened: (any EngineSession)?
    private var opening: Task<Result<any EngineSession, LunetteError>, Never>?
    private var connector: (any EngineConnector)?

    init(settings: Settings) { self.settings = settings }

    func session() async throws(LunetteError) -> any EngineSession {
        if let opened { return opened }
        if opening == nil { opening = Task { await self.open() } }
        return try await opening!.value.get()
    }

    private func open() async -> Result<any EngineSession, LunetteError> {
        do throws(LunetteError) {
            let connector = try await Engines.connector(settings)
            self.connector = connector
            let session = try await connector.connect(receiver: nil)
            opened = session
            return .success(session)
        } catch {
            return .failure(error)
        }
    }

    func close() async {
        await opened?.close()
        opened = nil
        if let connector { await Engines.close(connector) }
        connector = nil
    }
}
