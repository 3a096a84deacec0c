import LunetteSpec
import Synchronization

/// What a frame is: on the wire, and what it becomes.
package struct WireSize: Sendable, Hashable {
    /// Of the frame, without its length.
    package var bytes = 0
    /// A value of one byte takes some forty in memory, and again in each form that a call goes through.
    package var values = 0

    /// - Parameters:
    ///   - bytes: on the wire.
    ///   - values: of all depths, keys among them.
    package init(bytes: Int = 0, values: Int = 0) {
        self.bytes = bytes
        self.values = values
    }
}

/// What the calls under way of one user hold, over all of the user's connections.
package final class WireShare: Sendable {
    private struct Held {
        var calls = 0
        var size = WireSize()
    }

    private let held = Mutex(Held())
    private let calls: Int
    private let size: WireSize

    /// - Parameters:
    ///   - calls: that may be under way; what waits or streams counts.
    ///   - size: of their requests.
    package init(calls: Int, size: WireSize) {
        self.calls = calls
        self.size = size
    }

    /// Takes a call in.
    /// - Returns: why not.
    func take(_ method: String, _ size: WireSize) -> LunetteError? {
        held.withLock { held in
            var full: String?
            if held.calls >= calls {
                full = "\(calls) calls"
            } else if held.size.bytes + size.bytes > self.size.bytes {
                full = "calls with more than \(self.size.bytes >> 20) MiB of requests"
            } else if held.size.values + size.values > self.size.values {
                full = "calls with more than \(self.size.values) values in their requests"
            }
            if let full {
                return LunetteError(
                    .resourceExhausted,
                    "call \(displayable(method, limit: 80)): \(full) of this user's connections would be under way at once",
                    hint: "wait for those that are")
            }
            held.calls += 1
            held.size.bytes += size.bytes
            held.size.values += size.values
            return nil
        }
    }

    func give(_ size: WireSize) {
        held.withLock { held in
            held.calls -= 1
            held.size.bytes -= size.bytes
            held.size.values -= size.values
        }
    }

    /// Whether nothing of it is held.
    package var isFree: Bool { held.withLock { $0.calls == 0 } }
}
