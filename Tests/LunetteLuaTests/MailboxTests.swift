import LunetteSpec
import Synchronization
import Testing

@testable import LunetteLua

@Suite struct MailboxTests {
    /// Takes what comes on a thread of its own, until it is told to end.
    private final class Reader: Sendable {
        let mailbox = Mailbox()
        let isOver = Atomic<Bool>(false)
        let taken = Atomic<Int>(0)

        func start(_ ended: @escaping @Sendable () -> Void) {
            onOwnThread {
                while !self.isOver.load(ordering: .acquiring) {
                    if self.mailbox.next(until: nil) != nil { self.taken.add(1, ordering: .releasing) }
                }
                ended()
            }
        }
    }

    /// Whether its thread sleeps, looks, or is just about to do either.
    @Test func nothingThatIsPostedIsLeftLying() async {
        let reader = Reader()
        let (ends, end) = AsyncStream.makeStream(of: Void.self)
        reader.start { end.finish() }
        for number in 1...3000 {
            reader.mailbox.post { _ in }
            // Mostly at once, sometimes as late as a look lasts, sometimes later.
            let deadline = ContinuousClock.now + .seconds(20)
            while reader.taken.load(ordering: .acquiring) < number, ContinuousClock.now < deadline { await Task.yield() }
            #expect(reader.taken.load(ordering: .acquiring) == number)
            if number % 7 == 0 { try? await Task.sleep(for: .microseconds(number % 5 * 20)) }
        }
        reader.isOver.store(true, ordering: .releasing)
        reader.mailbox.post { _ in }
        for await _ in ends {}
    }

    /// Where the thread would look for longer than it may wait.
    @Test func aWaitEndsInItsTime() {
        let mailbox = Mailbox()
        for _ in 0..<20 {
            mailbox.post { _ in }
            #expect(mailbox.next(until: nil) != nil)
            let began = monotonicNow()
            #expect(mailbox.next(until: began + 0.00001) == nil)
            #expect(mailbox.next(until: began - 1) == nil)
            #expect(mailbox.next(until: 0) == nil)
        }
        let began = monotonicNow()
        #expect(mailbox.next(until: began + 0.02) == nil)
        #expect(monotonicNow() - began >= 0.02)
    }
}
