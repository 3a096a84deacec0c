import LunetteLinux
import Synchronization
import Testing

@testable import LunetteEngine

@Suite("The newest of what comes is handled, one at a time")
struct NewestTests {
    @Test func whatComesMeanwhileIsHandledOnceAsTheNewest() async {
        let handled = Mutex<[Int]>([])
        let (begun, gate, over) = (OneShot<Void>(), OneShot<Void>(), OneShot<Void>())
        let newest = Newest<Int> { item in
            handled.withLock { $0.append(item) }
            if item == 1 {
                begun.fulfil(())
                await gate.value()
            }
            if item == 4 { over.fulfil(()) }
        }
        newest.put(1)
        await begun.value()
        for item in 2...4 { newest.put(item) }
        gate.fulfil(())
        await over.value()
        #expect(handled.withLock { $0 } == [1, 4])
    }

    @Test func oneAfterItsEndIsHandledAgain() async {
        let (first, second) = (OneShot<Void>(), OneShot<Void>())
        let newest = Newest<OneShot<Void>> { $0.fulfil(()) }
        newest.put(first)
        await first.value()
        newest.put(second)
        await second.value()
    }
}
