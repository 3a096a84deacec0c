import LunetteAPI
package import LunetteSpec

// What scripts/dev/bench times: the way of a question and of an event to handlers, without what asks and logs them.
extension Engine {
    /// Asks the `before` handlers of `container.create` about a spec, one question after the other; nothing is made.
    /// - Parameters:
    ///   - labels: of the container that is asked about.
    ///   - decodes: also decodes each amended spec, as a creation does.
    /// - Returns: seconds of each question.
    /// - Throws: what the handlers answer.
    package func timeQuestions(
        _ count: Int, spec: Value, labels: ValueMap = [:], decodes: Bool = false
    ) async throws(LunetteError) -> [Double] {
        let call = Call.ownCall("container.create")
        let target = PendingEvent.Target(kind: "container", id: "0123456789ab", name: "bench")
        let question = Hooks.Question(event: "container.create", target: target, spec: spec, labels: labels, isAmendable: true)
        var times: [Double] = []
        times.reserveCapacity(count)
        let clock = ContinuousClock()
        for _ in 0..<count {
            let began = clock.now
            if decodes {
                _ = try await hooks.ask(question, for: call) { value throws(LunetteError) in try ContainerSpec(value).value }
            } else {
                _ = try await hooks.ask(question, for: call)
            }
            let taken = (clock.now - began).components
            times.append(Double(taken.seconds) + Double(taken.attoseconds) / 1e18)
        }
        return times
    }

    /// Logs events as exits of containers are logged, many in one commit.
    /// - Parameter targets: how many containers they are of, in turn.
    package func logExits(_ count: Int, targets: Int) async throws(LunetteError) {
        var number = 0
        while number < count {
            var changes = Changes()
            while number < count, changes.events.count < 1000 {
                let name = "bench-\(number % targets)"
                changes.events.append(
                    PendingEvent(
                        name: "container.exited", target: .init(kind: "container", id: name, name: name),
                        fields: ["exit": ["code": 0, "reason": "exited", "oom_killed": false, "finished_at": 0]]))
                number += 1
            }
            try await state.commit(changes)
        }
    }
}
