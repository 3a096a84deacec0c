import LunetteSpec
import Testing

@testable import LunetteEngine

@Suite struct ContainerStateTests {
    private func running(_ policy: RestartPolicy = RestartPolicy(), at now: Double = 0) throws -> ContainerState {
        var state = ContainerState()
        state.policy = policy
        _ = try state.apply(.created, now: now)
        _ = try state.apply(.startRequested, now: now)
        _ = try state.apply(.started(pid: 7), now: now)
        return state
    }

    private func exit(_ code: Int, _ reason: ExitRecord.Reason = .exited) -> ContainerState.Event {
        .exited(ExitRecord(code: code, reason: reason, finishedAt: 0))
    }

    @Test func anExitIsReportedBeforeTheTeardown() throws {
        var state = try running()
        let effects = try state.apply(exit(0), now: 1)
        #expect(effects == [.emit("container.exited"), .wakeWaiters, .tearDown])
        #expect(state.status == .stopped && state.pid == nil)
    }

    @Test(arguments: [
        (RestartPolicy.Kind.never, 1, false), (.onFailure, 0, false), (.onFailure, 1, true), (.always, 0, true), (.always, 1, true),
    ])
    func aPolicyDecidesByTheExit(kind: RestartPolicy.Kind, code: Int, restarts: Bool) throws {
        var state = try running(RestartPolicy(kind: kind))
        let effects = try state.apply(exit(code), now: 1)
        #expect(effects.contains(.restart(after: 0.1)) == restarts)
        #expect((state.restartAt == 1.1) == restarts)
    }

    @Test func theBackOffDoublesUpToItsEndAndAHealthyRunResetsIt() throws {
        var state = try running(RestartPolicy(kind: .always, initialBackoff: 1, maximumBackoff: 4))
        var delays: [Double] = []
        for _ in 0..<4 {
            for case .restart(let delay) in try state.apply(exit(1), now: 0) { delays.append(delay) }
            #expect(try state.apply(.restartDue, now: 0) == [.launch])
            _ = try state.apply(.started(pid: 7), now: 0)
        }
        #expect(delays == [1, 2, 4, 4])
        #expect(state.restarts == 4)
        let effects = try state.apply(exit(1), now: 11)
        #expect(effects.contains(.restart(after: 1)))
    }

    @Test func itGivesUpAfterItsAttempts() throws {
        var state = try running(RestartPolicy(kind: .always, maximumAttempts: 1))
        _ = try state.apply(exit(1), now: 0)
        _ = try state.apply(.restartDue, now: 0)
        _ = try state.apply(.started(pid: 7), now: 0)
        #expect(try !state.apply(exit(1), now: 0).contains { if case .restart = $0 { true } else { false } })
    }

    @Test func alwaysRemembersAUsersStop() throws {
        var state = try running(RestartPolicy(kind: .always))
        #expect(try state.apply(.stopRequested, now: 0) == [.cancelTimeLimit])
        let effects = try state.apply(exit(143, .signal), now: 1)
        #expect(!effects.contains { if case .restart = $0 { true } else { false } })
        #expect(state.exit?.reason == .stopped && state.stoppedByUser)
    }

    @Test func aStopCallsAPendingRestartOff() throws {
        var state = try running(RestartPolicy(kind: .always))
        _ = try state.apply(exit(1), now: 0)
        #expect(try state.apply(.stopRequested, now: 0) == [.cancelRestart])
        #expect(try state.apply(.restartDue, now: 1).isEmpty)
    }

    @Test func aTimeLimitKillsAndIsTheReason() throws {
        var state = ContainerState()
        state.hasTimeLimit = true
        state.policy = RestartPolicy(kind: .always)
        _ = try state.apply(.created, now: 0)
        #expect(try state.apply(.started(pid: 7), now: 0).contains(.armTimeLimit))
        #expect(try state.apply(.timeLimitPassed, now: 5) == [.kill])
        let effects = try state.apply(exit(137, .signal), now: 5)
        #expect(state.exit?.reason == .timeLimit)
        #expect(!effects.contains { if case .restart = $0 { true } else { false } })
    }

    @Test func aFailedFirstStartIsNotRepeatedButAPolicysIs() throws {
        var state = ContainerState()
        state.policy = RestartPolicy(kind: .always)
        _ = try state.apply(.created, now: 0)
        let first = try state.apply(.startFailed(message: "no such file", code: 127), now: 0)
        #expect(first == [.emit("container.exited"), .wakeWaiters, .tearDown])
        #expect(state.exit?.code == 127 && state.exit?.reason == .startFailed)
        _ = try state.apply(.startRequested, now: 0)
        _ = try state.apply(.started(pid: 7), now: 0)
        _ = try state.apply(exit(1), now: 0)
        _ = try state.apply(.restartDue, now: 0)
        #expect(
            try state.apply(.startFailed(message: "again", code: 125), now: 0).contains { if case .restart = $0 { true } else { false } })
    }

    @Test func removeOnExitFollowsTheLastExit() throws {
        var state = try running()
        state.removesOnExit = true
        #expect(try state.apply(exit(0), now: 1).last == .remove)
    }

    @Test func outOfMemoryIsToldBeforeTheExit() throws {
        var state = try running()
        let effects = try state.apply(
            .exited(ExitRecord(code: 137, signal: "SIGKILL", oomKilled: true, reason: .oom, finishedAt: 0)), now: 1)
        #expect(effects.prefix(2) == [.emit("container.oom"), .emit("container.exited")])
    }

    @Test func whatCannotHappenChangesNothing() throws {
        var state = try running()
        let before = state
        for event in [ContainerState.Event.created, .startRequested, .started(pid: 1), .resumed, .startFailed(message: "", code: 1)] {
            #expect(throws: LunetteError.self) { _ = try state.apply(event, now: 0) }
            #expect(state == before)
        }
    }
}
