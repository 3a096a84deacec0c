import LunetteLinux

extension Engine {
    /// The places in the engine's own steps where a test may kill it. A test compares the list with the source.
    static let ownFaultPoints = [
        "build.ledger", "build.ran", "create.before-commit", "create.committed", "exec.running", "remove.committed", "remove.killed",
        "remove.reaped", "start.committed", "start.copied-up", "start.created", "start.ledger", "start.prepared", "start.running",
        "stop.committed", "stop.killed", "stop.signalled", "volume.create.ledger", "volume.create.made", "volume.remove.committed",
    ]

    /// Every fault point of the engine and of what it stands on, sorted.
    package static var faultPoints: [String] {
        FaultPoints.register(ownFaultPoints)
        return FaultPoints.all
    }
}
