public import LunetteAPI
import LunetteSpec

extension Engine {
    /// Ties resident code and engine to each other, which both need before either begins.
    func connectResident() async {
        await plugins.connect(residentConnector)
        await resident.onSwap { [supervisor] in await supervisor.handlersChanged() }
        await resident.connect(residentConnector, objects: objectSteps) { [weak self] subscription, start, cursor in
            await self?.deliver(to: subscription, after: start, cursor: cursor)
        }
    }

    var residentConnector: any EngineConnector { ResidentConnector(engine: self) }
}

extension Engine {
    /// Hears of the sockets that resident scripts declare: at once, and again with each version of them.
    public func onSockets(_ use: @escaping @Sendable ([EngineSocket]) -> Void) async { await resident.onSockets(use) }
}

extension LunetteError {
    /// What calls get that come when it ends. Who has made them by itself, as a timer does, need not tell of it.
    static let closing = LunetteError(.invalidState, "the engine is closing", details: ["closing": true])
}

/// How resident code and plugins call the engine that they live in.
private struct ResidentConnector: EngineConnector {
    weak var engine: Engine?

    func connect(receiver: (any HookReceiver)?) async throws(LunetteError) -> any EngineSession {
        guard let engine else { throw .closing }
        return try engine.open(Session(engine: engine, receiver: nil, isInternal: true))
    }
}
