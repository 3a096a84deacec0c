import LunetteAPI
import LunetteSpec
import Synchronization

/// The source of all resident scripts at one moment, with what they require: what is stored once it has been loaded, and loaded again when a
/// later one is broken.
struct ResidentVersion: Sendable, Hashable {
    /// The settings' own in the order of their names, then what was applied.
    var scripts: [ResidentScript] = []
    /// What the settings' own require, by name.
    var modules: [String: [UInt8]] = [:]

    init(scripts: [ResidentScript] = [], modules: [String: [UInt8]] = [:]) {
        self.scripts = scripts
        self.modules = modules
    }

    var applied: [ResidentScript] { scripts.filter(\.isApplied) }
    var files: [ResidentScript] { scripts.filter { !$0.isApplied } }
    func script(_ name: String) -> ResidentScript? { scripts.first { $0.name == name } }

    var encoded: [UInt8] {
        MessagePack.encode(["scripts": .array(scripts.map(\.stored)), "modules": ResidentScript.stored(modules)])
    }

    init(encoded: [UInt8]) throws(LunetteError) {
        let value = try MessagePack.decode(encoded)
        scripts = (value["scripts"]?.arrayValue ?? []).compactMap(ResidentScript.init(stored:))
        modules = ResidentScript.modules(stored: value["modules"])
    }

    /// Names of scripts by what became of them.
    func change(from old: ResidentVersion) -> ValueMap {
        let before = old.scripts.reduce(into: [String: ResidentScript]()) { $0[$1.name] = $1 }
        let now = Set(scripts.map(\.name))
        let modulesChanged = modules != old.modules
        func names(_ list: [ResidentScript], where isMeant: (ResidentScript) -> Bool) -> Value {
            .array(list.filter(isMeant).map { .string($0.name) })
        }
        return [
            "added": names(scripts) { before[$0.name] == nil },
            "changed": names(scripts) { script in
                before[script.name].map { $0 != script || modulesChanged && !script.isApplied } ?? false
            },
            "removed": names(old.scripts) { !now.contains($0.name) },
        ]
    }
}

extension ResidentScript {
    fileprivate var stored: Value {
        var map: ValueMap = ["name": .string(name), "file": .string(file), "source": .bytes(source)]
        if let grants { map["grants"] = .array(grants.map(Value.string)) }
        if let modules { map["modules"] = Self.stored(modules) }
        return .map(map)
    }

    fileprivate init?(stored value: Value) {
        guard let name = value["name"]?.stringValue, let file = value["file"]?.stringValue, let source = value["source"]?.byteString else {
            return nil
        }
        self.init(
            name: name, file: file, source: source, grants: value["grants"]?.arrayValue?.compactMap(\.stringValue),
            modules: value["modules"].map(Self.modules(stored:)))
    }

    fileprivate static func stored(_ modules: [String: [UInt8]]) -> Value {
        var map = ValueMap()
        for (name, source) in modules.sorted(by: { $0.key < $1.key }) { map[name] = .bytes(source) }
        return .map(map)
    }

    fileprivate static func modules(stored value: Value?) -> [String: [UInt8]] {
        (value?.mapValue ?? [:]).reduce(into: [:]) { $0[$1.key] = $1.value.byteString }
    }
}

/// Modules from the disk, each read once: what one script of a version has seen the others see too, and what is stored is what was loaded.
final class ReadModules: ResidentModules {
    private let files: ResidentFiles
    private struct State {
        var read: [String: [UInt8]] = [:]
        var isClosed = false
    }
    private let state = Mutex(State())

    init(_ files: ResidentFiles) { self.files = files }

    /// Ends the reading: what a handler requires later is what was loaded, or nothing.
    /// - Returns: all that was read.
    func close() -> [String: [UInt8]] {
        state.withLock { state in
            state.isClosed = true
            return state.read
        }
    }

    func source(of module: String) throws(LunetteError) -> [UInt8]? {
        let (known, isClosed) = state.withLock { ($0.read[module], $0.isClosed) }
        if let known { return known }
        if isClosed { throw Self.late(module) }
        guard let source = try files.module(module) else { return nil }
        return state.withLock { state in
            if let known = state.read[module] { return known }
            state.read[module] = source
            return source
        }
    }

    /// Code that no reload has looked at, and that isn't stored, shall not come in by a handler.
    static func late(_ module: String) -> LunetteError {
        LunetteError(
            .invalidState, "the module '\(displayable(module, limit: 80))' wasn't required when the script was loaded",
            hint: "require it outside of functions: what a version needs is read and stored with it")
    }
}

/// Those of a stored version, or of a script that brought them along.
struct StoredModules: ResidentModules {
    let all: [String: [UInt8]]
    /// Whether one that is missing can still be brought.
    var isComplete = true

    func source(of module: String) throws(LunetteError) -> [UInt8]? {
        if let source = all[module] { return source }
        // Whoever sent the script reads this and sends the module.
        if !isComplete {
            _ = try ModuleName.candidates(module)
            throw LunetteError(
                .notFound, "module '\(displayable(module, limit: 80))' not found beside this code", details: ["module": .string(module)])
        }
        return nil
    }
}
