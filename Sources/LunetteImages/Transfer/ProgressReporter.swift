internal import Synchronization

/// Hands progress to the caller one report at a time, whatever thread it comes from.
final class ProgressReporter: Sendable {
    private let handler: ImageProgressHandler?
    private let turn = Mutex(())

    init(_ handler: ImageProgressHandler?) { self.handler = handler }

    func report(_ phase: String, _ digest: String? = nil, _ current: Int64 = 0, of total: Int64? = nil) {
        guard let handler else { return }
        turn.withLock { _ in handler(ImageProgress(phase: phase, digest: digest, current: current, total: total)) }
    }
}
