internal import LunetteSpec
internal import Synchronization

/// Bounds what a limited state's calls under way hold outside of it, where its memory limit doesn't count.
final class CallBudget: Sendable {
    /// Bytes of all calls under way.
    static let limit = 32 << 20
    /// What a call takes whatever is in it.
    static let call = 4 << 10
    /// What a stream may keep ready for its reader.
    static let stream = 256 << 10

    private let held = Atomic<Int>(0)

    /// A part of the budget, given back when nothing holds this any more.
    final class Hold: Sendable {
        private let budget: CallBudget
        private let bytes: Int

        fileprivate init(_ budget: CallBudget, _ bytes: Int) {
            self.budget = budget
            self.bytes = bytes
        }

        deinit { budget.held.subtract(bytes, ordering: .relaxed) }
    }

    /// - Throws: `resource_exhausted` when there isn't as much left.
    func hold(_ bytes: Int) throws(LunetteError) -> Hold {
        let total = held.add(bytes, ordering: .relaxed).newValue
        let hold = Hold(self, bytes)
        guard total <= Self.limit else {
            throw LunetteError(
                .resourceExhausted, "the calls under way hold \(total >> 20) MiB, \(Self.limit >> 20) MiB at most",
                hint: "wait for some of them before making more")
        }
        return hold
    }
}

extension LuaHost {
    /// Takes the call that is being answered from the budget of a limited state, for as long as the result is held.
    func holdCall(_ extra: Int = CallBudget.call) throws(LunetteError) -> CallBudget.Hold? {
        try budget?.hold(state.callCost + extra)
    }
}
