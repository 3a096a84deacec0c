import LunetteAPI
import LunetteSpec

extension Resident {
    /// What `script.list` shows.
    func list() -> [Value] {
        scripts.map { loaded in
            let script = loaded.script
            var map: ValueMap = [
                "name": .string(script.name), "file": .string(script.file),
                "path": .string(script.isApplied ? "" : "\(files.folder)/\(script.file)"),
                "origin": script.isApplied ? "applied" : "settings",
                "status": .string(problem == nil || script.isApplied ? "running" : "last_good"),
                "handlers": .int(Int64(loaded.handlers.count)), "lifecycles": .array(loaded.lifecycles.map { .string($0.name) }),
                "objects": .array(loaded.desired.map { ["kind": .string($0.kind), "name": .string($0.name), "place": .string($0.place)] }),
            ]
            map["grants"] = script.grants.map { .array($0.map(Value.string)) }
            map["error"] = script.isApplied ? nil : problem.map { .string($0.description) }
            return .map(map)
        }
    }

    /// The source of a script as it runs.
    func source(of name: String) throws(LunetteError) -> Value {
        guard let script = version.script(name) else {
            throw LunetteError(
                .notFound, "no resident script is called \"\(displayable(name, limit: 80))\"", target: name,
                hint: nearest(to: name, in: version.scripts.map(\.name)).map { "did you mean \"\($0)\"?" }
                    ?? "`lunette script list` lists them")
        }
        return .text(script.source)
    }

    /// What `script.plan` and `script.apply` answer.
    func describe(
        _ script: ResidentScript, _ loaded: [LoadedResident], _ changes: [ObjectChange], before: ResidentVersion
    ) -> Value {
        let mine = loaded.first { $0.script.name == script.name }
        let old = before.script(script.name)
        let asked = Grant.asked(by: script.source + (script.modules ?? [:]).values.flatMap { [10] + $0 })
        return [
            "script": .string(script.name), "action": old == nil ? "create" : old == script ? "same" : "update",
            "handlers": .array((mine?.handlers ?? []).map { $0.value() }),
            "sockets": .array((mine?.sockets ?? []).map(\.plan)),
            "lifecycles": .array((mine?.lifecycles ?? []).map { ["name": .string($0.name), "place": .string($0.place)] }),
            "objects": .array(changes.map(\.value)), "grants": .array((script.grants ?? []).map(Value.string)),
            "lacking": .array(
                Grant.grantable.filter { asked.contains($0.name) && !Grant.covers($0, script.grants ?? ["*"]) }.map(\.name).sorted()
                    .map(Value.string)),
        ]
    }
}
