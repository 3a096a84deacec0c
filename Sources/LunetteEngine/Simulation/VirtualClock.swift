import LunetteLinux

/// The engine's view of time that a test moves.
struct VirtualClock: EngineClock {
    let time: VirtualTime
    func now() -> Double { time.now }
    func sleep(_ seconds: Double) async throws { try await time.sleep(seconds) }
}
