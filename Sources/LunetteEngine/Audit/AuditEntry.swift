import LunetteAPI
import LunetteSpec

/// One line of the audit log. What was asked for is named by function and target only: arguments may hold secrets, so none of them is in it.
enum AuditEntry {
    /// Whether a call is worth a line when it has succeeded, or failed otherwise than by a refusal.
    static func isKept(_ request: APIRequest) -> Bool {
        guard let function = APIRegistry.function(request.function) else { return false }
        return function.changes(request.arguments)
    }

    /// The nearest ones.
    private static let maximumCauses = 12

    static func value(
        _ request: APIRequest, began: Double, seconds: Double, result: Result<Value, LunetteError>
    ) -> Value {
        var map: ValueMap = ["time": .double(began), "call": .string(request.function)]
        var answer: Value = .null
        switch result {
        case .success(let value):
            answer = value
            map["outcome"] = "ok"
        case .failure(let error):
            map["outcome"] = .string(error.code.rawValue)
            // The words of who refused it; other messages may quote what was given.
            if error.code == .denied {
                map["reason"] = (error.details?["reason"]).map { .string(displayable($0.stringValue ?? "", limit: 200)) }
                map["by"] = error.details?["hook"] ?? error.details?["socket"]
            }
        }
        map["target"] = target(request, answer).map { .string(displayable($0, limit: 120)) }
        let actor = request.actor
        map["uid"] = .int(Int64(actor.uid))
        map["pid"] = .int(Int64(actor.pid))
        map["script"] = actor.script.map { .string(displayable($0, limit: 200)) }
        map["line"] = actor.line.map { .int(Int64($0)) }
        map["socket"] = actor.socket.map(Value.string)
        if !request.cause.isEmpty {
            // A line has a bound: who claims many causes shall not push others' lines out.
            map["cause"] = .array(request.cause.suffix(maximumCauses).map { .string(displayable($0, limit: 140)) })
        }
        map["request"] = .string(displayable(request.id, limit: 200))
        map["seconds"] = .double((seconds * 1e6).rounded() / 1e6)
        return .map(map)
    }

    /// What it was done to: the name of what came of it, else the argument that names something.
    private static func target(_ request: APIRequest, _ answer: Value) -> String? {
        if answer["$handle"] != nil, let name = answer["name"]?.stringValue { return name }
        if request.function == "lunette.apply" {
            return ["volumes", "containers"].flatMap { (request.arguments[$0]?.mapValue ?? [:]).keys.sorted() }.joined(separator: " ")
        }
        for key in ["container", "volume", "image", "name", "reference", "references", "tag", "plugin", "event", "subscription"] {
            guard let value = request.arguments[key] else { continue }
            if let list = value.arrayValue { return list.compactMap(word).joined(separator: " ") }
            if let word = word(value) { return word }
        }
        return request.arguments["spec"]?["name"]?.stringValue
    }

    private static func word(_ value: Value) -> String? { value.stringValue ?? value["name"]?.stringValue ?? value["id"]?.stringValue }
}
