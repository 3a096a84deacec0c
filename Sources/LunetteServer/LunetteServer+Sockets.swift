internal import Glibc
public import LunetteAPI
import LunetteLinux
internal import LunetteSpec
import Synchronization

extension LunetteServer {
    /// Puts these sockets of resident scripts in the place of those that are open: a socket that is the same stays open, with its clients;
    /// who came over one that has gone is let go.
    /// - Returns: what couldn't be opened, a line each; the others are open.
    @discardableResult
    public func use(_ sockets: [EngineSocket]) -> [String] {
        let gone = state.withLock { state in
            state.listeners.filter { listener in
                guard let socket = listener.socket else { return false }
                return !sockets.contains { $0.name == socket.name && (listener.isPassed || $0 == socket) }
            }
        }
        for listener in gone {
            if listener.isPassed {
                // Kept for when it is declared again: systemd gives it once.
                state.withLock { state in
                    state.loop?.remove(listener.token)
                    state.listeners.removeAll { $0.token == listener.token }
                    state.passed[listener.socket!.name] = listener.descriptor
                }
            } else {
                remove(listener)
            }
        }
        let names = Set(gone.compactMap(\.socket?.name))
        let ended = state.withLock { state in state.sessions.values.filter { $0.actor.socket.map(names.contains) ?? false } }
        for session in ended { session.peer.refuse(LunetteError(.denied, "use the socket \(session.actor.socket ?? ""): it has gone")) }

        var problems: [String] = []
        for socket in sockets where !state.withLock({ $0.listeners.contains { $0.socket?.name == socket.name } }) {
            do throws(LunetteError) {
                if let descriptor = state.withLock({ $0.passed.removeValue(forKey: socket.name) }) {
                    let path = ListeningSocket.path(of: descriptor) ?? ""
                    add(Listener(socket: socket, path: path, descriptor: descriptor, isPassed: true))
                } else {
                    add(try Listener.open(socket))
                }
            } catch {
                problems.append(error.description)
            }
        }
        for problem in problems { log(problem) }
        return problems
    }

    // MARK: The end

    /// Stops listening if nobody is connected, for an engine on demand that has nothing left to do.
    ///
    /// A client that connects in the very moment finds its connection ended, and asks the next engine with the same request id.
    /// - Returns: false when a client is there; then nothing has changed.
    public func stopIfIdle() -> Bool {
        // Who waits at the door is a client.
        guard clients == 0, !state.withLock({ $0.listeners.contains { hasClientWaiting($0.descriptor) } }) else { return false }
        stopListening()
        return true
    }

    private func hasClientWaiting(_ descriptor: Int32) -> Bool {
        var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&waiting, 1, 0) > 0
    }

    /// Takes no more clients and removes the sockets; those connected stay.
    public func stopListening() {
        let listeners = state.withLock { state in
            for listener in state.listeners { state.loop?.remove(listener.token) }
            for descriptor in state.passed.values { close(descriptor) }
            defer { (state.listeners, state.passed) = ([], [:]) }
            return state.listeners
        }
        for listener in listeners { listener.close() }
    }

    /// Takes no more clients nor calls, and gives the calls under way a while: those that change something. What reads, waits or streams ends at
    /// once. Either is told to ask the next engine.
    /// - Parameters:
    ///   - seconds: after which what is under way is cancelled: undone where it isn't decided yet.
    ///   - isImpatient: asked again and again; true cuts the wait short.
    public func drain(seconds: Double, isImpatient: @Sendable () -> Bool = { false }) async {
        state.withLock { $0.isDraining = true }
        stopListening()
        let sessions = state.withLock { Array($0.sessions.values) }
        for session in sessions { session.peer.cancelRequests { !LunetteServer.isWaitedFor($0) } }
        let deadline = MonotonicClock.now + seconds
        while sessions.contains(where: { $0.peer.requestCount > 0 }), MonotonicClock.now < deadline, !isImpatient() {
            do { try await Task.sleep(for: .milliseconds(20)) } catch { break }
        }
        for session in sessions { session.peer.cancelRequests { _ in true } }
        // Their answers; what can't be undone in a moment is the next engine's to find.
        let last = MonotonicClock.now + 2
        while sessions.contains(where: { $0.peer.requestCount > 0 }), MonotonicClock.now < last {
            do { try await Task.sleep(for: .milliseconds(20)) } catch { break }
        }
    }

    /// An exec goes on without us, and its repetition finds it.
    private static func isWaitedFor(_ function: String) -> Bool {
        function != "container.exec" && APIRegistry.function(function)?.mutates ?? false
    }

    /// Ends every connection; calls under way are cancelled.
    public func stop() async {
        stopListening()
        let sessions = state.withLock { state in
            defer { state.sessions = [:] }
            return Array(state.sessions.values)
        }
        for session in sessions { session.peer.close() }
        for session in sessions { await session.leave() }
        state.withLock { state in
            state.loop?.stop()
            state.loop = nil
        }
    }
}
