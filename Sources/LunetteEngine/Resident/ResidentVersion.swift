import LunetteAPI
import LunetteSpec
import Synchronization

/// The source of all resident scripts at one moment, with what they require: what is stored once it has been loaded, and loaded again when a
/// later one is broken.
struct ResidentVersion: Sendable, Hashable {
    var scripts: [ResidentScript] = []
    /// By name.
    var modules: [String: [UInt8]] = [:]

    var encoded: [UInt8] {
        var map = ValueMap()
        for (name, source) in modules.sorted(by: { $0.key < $1.key }) { map[name] = .bytes(source) }
        return MessagePack.encode([
            "scripts": .array(
                scripts.map { ["name": .string($0.name), "file": .string($0.file), "source": .bytes($0.source)] }), "modules": .map(map),
        ])
    }

    init(scripts: [ResidentScript], modules: [String: [UInt8]] = [:]) {
        self.scripts = scripts
        self.modules = modules
    }

    init(encoded: [UInt8]) throws(LunetteError) {
        let value = try MessagePack.decode(encoded)
        for item in value["scripts"]?.arrayValue ?? [] {
            guard let name = item["name"]?.stringValue, let file = item["file"]?.stringValue, let source = item["source"]?.byteString else {
                continue
            }
            scripts.append(ResidentScript(name: name, file: file, source: source))
        }
        for (name, source) in value["modules"]?.mapValue ?? [:] { modules[name] = source.byteString }
    }
}

/// Modules from the disk, each read once: what one script of a version has seen the others see too, and what is stored is what was loaded.
final class ReadModules: ResidentModules {
    private let files: ResidentFiles
    private let read = Mutex<[String: [UInt8]]>([:])

    init(_ files: ResidentFiles) { self.files = files }

    var all: [String: [UInt8]] { read.withLock { $0 } }

    func source(of module: String) throws(LunetteError) -> [UInt8]? {
        if let known = read.withLock({ $0[module] }) { return known }
        guard let source = try files.module(module) else { return nil }
        return read.withLock { read in
            if let known = read[module] { return known }
            read[module] = source
            return source
        }
    }
}

/// Those of a stored version.
struct StoredModules: ResidentModules {
    let all: [String: [UInt8]]
    func source(of module: String) -> [UInt8]? { all[module] }
}
