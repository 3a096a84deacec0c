import Testing

@testable import LunetteLua

@Suite struct TimerQueueTests {
    /// Draws without a seed of the machine's: a failure comes again.
    private struct Draw {
        var state: UInt64 = 42
        mutating func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
    }

    @Test func theyComeInTheOrderOfTheirTimesAndOfEqualOnesOfTheirTokens() {
        var queue = TimerQueue()
        var draw = Draw()
        var expected: [(due: Double, token: Int64)] = []
        for token in 1...100_000 as ClosedRange<Int64> {
            let due = Double(draw.next(1000))
            queue.add(token, due: due)
            expected.append((due, token))
        }
        expected.sort { ($0.due, $0.token) < ($1.due, $1.token) }
        var isExact = true
        for (due, token) in expected { isExact = isExact && queue.nextDue == due && queue.takeFirst() == token }
        #expect(isExact)
        #expect(queue.takeFirst() == nil && queue.nextDue == nil && queue.count == 0)
    }

    @Test func whatIsRemovedNeverComes() {
        var queue = TimerQueue()
        var draw = Draw()
        var waiting: [Int64: Double] = [:]
        var token: Int64 = 0
        for _ in 0..<20_000 {
            switch draw.next(4) {
            case 0, 1:
                token += 1
                waiting[token] = Double(draw.next(100))
                queue.add(token, due: waiting[token]!)
            case 2:
                guard let some = waiting.keys.min() else { continue }
                waiting[some] = nil
                queue.remove(some)
                queue.remove(some)
                queue.remove(-some)
            default:
                let first = waiting.min { ($0.value, $0.key) < ($1.value, $1.key) }
                #expect(queue.nextDue == first?.value)
                #expect(queue.takeFirst() == first?.key)
                if let first { waiting[first.key] = nil }
            }
            #expect(queue.count == waiting.count)
        }
    }
}
