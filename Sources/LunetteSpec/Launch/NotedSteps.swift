/// Steps of a plan, and of each the field of the runtime spec that asks for it: what a failure is told by.
struct NotedSteps {
    private(set) var steps: [LaunchStep] = []
    private(set) var fields: [String?] = []

    mutating func append(_ step: LaunchStep) { steps.append(step) }

    /// - Parameter field: what asked for the steps which were added since the last note.
    mutating func note(_ field: String?) {
        fields += Array(repeating: field, count: steps.count - fields.count)
    }
}
