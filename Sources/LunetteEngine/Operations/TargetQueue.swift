import LunetteAPI
import LunetteSpec

/// Lets one operation at a time have a target; others queue in order of arrival, and other targets go on.
///
/// A call that would wait for what its own cause holds, or in a circle, gets `conflict` at once: it could only wait for ever.
actor TargetQueue {
    private struct Waiter {
        let number: Int
        let call: Call
        let continuation: CheckedContinuation<Bool, Never>
    }

    private struct Target {
        var holder: Call
        var waiters: [Waiter] = []
    }

    private var targets: [String: Target] = [:]
    private var nextNumber = 0
    /// Waiters cancelled before they were put into a queue.
    private var cancelled: Set<Int> = []

    /// How many operations hold or await a target.
    var count: Int { targets.values.reduce(0) { $0 + 1 + $1.waiters.count } }

    func acquire(_ key: String, for call: Call) async throws(LunetteError) {
        guard let target = targets[key] else {
            targets[key] = Target(holder: call)
            return
        }
        if let why = deadlock(call, with: target.holder) {
            throw LunetteError(
                .conflict, "\(call.request.function) would wait for itself: \(why)", operation: call.request.function, target: key)
        }
        let number = nextNumber
        nextNumber += 1
        let granted = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if cancelled.remove(number) != nil || Task.isCancelled {
                    continuation.resume(returning: false)
                } else {
                    targets[key]!.waiters.append(Waiter(number: number, call: call, continuation: continuation))
                }
            }
        } onCancel: {
            Task { await self.abandon(number, key) }
        }
        guard granted else { throw LunetteError(.cancelled, "\(call.request.function) was cancelled", operation: call.request.function) }
    }

    private func abandon(_ number: Int, _ key: String) {
        guard let index = targets[key]?.waiters.firstIndex(where: { $0.number == number }) else { return }
        targets[key]!.waiters.remove(at: index).continuation.resume(returning: false)
    }

    func release(_ key: String) {
        guard var target = targets[key] else { return }
        if target.waiters.isEmpty {
            targets[key] = nil
        } else {
            let next = target.waiters.removeFirst()
            target.holder = next.call
            targets[key] = target
            next.continuation.resume(returning: true)
        }
    }

    /// Whether what `call` is done for holds the target, and so waits for it or is through with what it does.
    fileprivate func isHeldByCause(_ key: String, of call: Call) -> Bool {
        targets[key].map { call.request.cause.contains($0.holder.request.id) } ?? false
    }

    /// Walks who waits for whom: from the holder to the calls made on its behalf that wait, to the holders of what they wait for.
    private func deadlock(_ call: Call, with first: Call) -> String? {
        let mine = Set(call.request.cause).union([call.request.id])
        var open = [first]
        var seen: Set<String> = []
        while let holder = open.popLast() {
            if mine.contains(holder.request.id) { return "its cause, \(holder.request.function), holds the target" }
            guard seen.insert(holder.request.id).inserted else { continue }
            for target in targets.values {
                for waiter in target.waiters
                where waiter.call.request.id == holder.request.id || waiter.call.request.cause.contains(holder.request.id) {
                    open.append(target.holder)
                }
            }
        }
        return nil
    }
}

extension TargetQueue {
    /// Runs `body` while `call` holds `key`.
    /// - Parameter orCause: its cause's hold will do, as for what only reads: a hook of a removal saves files.
    nonisolated func withTarget<T: Sendable>(
        _ key: String, for call: Call, orCause: Bool = false, _ body: () async throws(LunetteError) -> T
    ) async throws(LunetteError) -> T {
        if orCause, await isHeldByCause(key, of: call) { return try await body() }
        try await acquire(key, for: call)
        do throws(LunetteError) {
            let result = try await body()
            await release(key)
            return result
        } catch {
            await release(key)
            throw error
        }
    }
}
