import Testing

@testable import LunetteSpec

@Suite struct NearestTests {
    @Test(arguments: [
        ("rnu", "run"), ("psuh", "push"), ("imges", "images"), ("volum", "volume"), ("stopp", "stop"), ("memroy", "memory"), ("sp", "ps"),
    ])
    func aSlipIsAnsweredWithWhatWasMeant(_ typed: String, _ meant: String) {
        #expect(
            nearest(to: typed, in: ["rmi", "ps", "run", "push", "pull", "images", "volume", "stop", "start", "memory", "top"]) == meant)
    }

    @Test func nothingNearIsNoHint() {
        #expect(nearest(to: "frobnicate", in: ["run", "ps"]) == nil)
        #expect(nearest(to: "xyz", in: []) == nil)
        #expect(nearest(to: "", in: ["run"]) == nil)
        // A letter of one or of two is most of the word, and the dashes are nobody's slip.
        #expect(nearest(to: "x", in: ["y", "ps", "x1"]) == nil && nearest(to: "-x", in: ["-e", "-h"]) == nil)
        #expect(nearest(to: "rx", in: ["rm", "cp"]) == nil && nearest(to: "sp", in: ["ps"]) == "ps")
        #expect(nearest(to: "--foo", in: ["--root"]) == nil && nearest(to: "--bad", in: ["--tag"]) == nil)
        #expect(nearest(to: "--dns", in: ["--cpus"]) == nil && nearest(to: "--nmae", in: ["--name"]) == "--name")
        #expect(nearest(to: "--allow-exec", in: ["--allow-read", "--allow-bind", "--allow-write"]) == nil)
        // What whole families begin or end with is nobody's slip either.
        #expect(nearest(to: "SCMP_ACT_FOO", in: ["SCMP_ACT_LOG"]) == nil && nearest(to: "SCMP_ACT_ALOW", in: ["SCMP_ACT_ALLOW"]) != nil)
        #expect(nearest(to: "time-limit", in: ["pids-limit"]) == nil && nearest(to: "pid-limit", in: ["pids-limit"]) == "pids-limit")
        #expect(nearest(to: "--alow-read", in: ["--allow-read"]) == "--allow-read")
        #expect(nearest(to: "memory_reservations", in: ["memory_swappiness__"]) == nil)
    }

    @Test func aTieIsBrokenTheSameWayEveryTime() {
        // Both are one edit away; the one that begins alike is likelier.
        #expect(nearest(to: "stat", in: ["tat", "stet", "star"]) == "star")
        #expect(nearest(to: "stat", in: ["star", "stet", "tat"]) == "star")
    }

    @Test(arguments: [
        ("", "", 0), ("run", "run", 0), ("rnu", "run", 1), ("ca", "abc", 3), ("kitten", "sitting", 3), ("abcd", "badc", 2), ("", "abc", 3),
    ])
    func aSwapOfNeighboursIsOneEdit(_ left: String, _ right: String, _ distance: Int) {
        #expect(editDistance(left, right) == distance)
        #expect(editDistance(right, left) == distance)
    }
}
