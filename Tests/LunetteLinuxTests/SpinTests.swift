import LunetteLinux
import Testing

@Suite struct SpinTests {
    private func policy() -> SpinPolicy { SpinPolicy(longest: 30_000, short: 100_000) }

    @Test func whoWaitedBrieflyLooksNextTime() {
        var policy = policy()
        #expect(!policy.looks)
        policy.waited(100_001)
        #expect(!policy.looks)
        policy.waited(100_000)
        #expect(policy.looks)
        policy.saw()
        #expect(policy.looks)
        policy.waited(1_000_000)
        #expect(!policy.looks)
    }

    /// One who is always just too late costs next to nothing.
    @Test func looksInVainBecomeRare() {
        var policy = policy()
        var looks = 0
        for _ in 0..<10_000 {
            if policy.looks {
                looks += 1
                policy.missed()
            }
            policy.waited(60_000)
        }
        #expect(looks < 60, "\(looks)")
        // And nothing of that is left once looks are of use again.
        while !policy.looks { policy.waited(60_000) }
        policy.saw()
        policy.missed()
        policy.waited(60_000)
        #expect(policy.looks)
    }

    @Test func aHandlerThatIsSlowEveryThirdTimeCostsOneLookInThree() {
        var policy = policy()
        var (inVain, seen) = (0, 0)
        for turn in 1...3000 {
            let isSlow = turn.isMultiple(of: 3)
            if policy.looks {
                if isSlow { policy.missed() } else { policy.saw() }
                inVain += isSlow ? 1 : 0
                seen += isSlow ? 0 : 1
                if !isSlow { continue }
            }
            policy.waited(isSlow ? 5_000_000 : 20_000)
        }
        #expect(inVain <= 1000 && seen >= 900, "\(inVain) in vain, \(seen) not")
    }

    @Test func aLookEndsWithWhatComesOrWithItsTime() {
        #expect(Spin.look(for: 1_000_000_000) { true })
        var looks = 0
        #expect(
            Spin.look(for: 1_000_000_000) {
                looks += 1
                return looks == 1000
            })
        let began = Spin.now
        #expect(!Spin.look(for: 200_000) { false })
        #expect(Spin.now - began >= 200_000)
        #expect(!Spin.look(for: 0) { false })
    }
}
