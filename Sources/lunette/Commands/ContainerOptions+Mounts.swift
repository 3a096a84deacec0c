import LunetteAPI
import LunetteLinux
import LunetteSpec

extension ContainerOptions {
    func mounts(_ spec: inout ValueMap) throws(LunetteError) {
        var mounts: [Value] = []
        for item in volume { mounts.append(try MountOption.volume(item)) }
        for item in mount { mounts.append(try MountOption.mount(item)) }
        for item in tmpfs { mounts.append(try MountOption.tmpfs(item)) }
        if !mounts.isEmpty { spec["mounts"] = .array(mounts) }
    }
}

/// Reads Docker's three ways to write a mount.
enum MountOption {
    /// `SOURCE:TARGET[:OPTIONS]`; a source with a slash or a leading dot is a host path, else a volume. `TARGET` alone is an anonymous volume.
    static func volume(_ item: String) throws(LunetteError) -> Value {
        let parts = item.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard (1...3).contains(parts.count), parts.allSatisfy({ !$0.isEmpty }) else {
            throw LunetteError(.invalidArgument, "read --volume \"\(item)\"", hint: "write SOURCE:TARGET or SOURCE:TARGET:ro")
        }
        let target = parts.count == 1 ? parts[0] : parts[1]
        guard target.hasPrefix("/") else {
            throw LunetteError(
                .invalidArgument, "read --volume \"\(Text.safe(item))\": \"\(Text.safe(target))\" is not an absolute path",
                hint: "write SOURCE:TARGET, where TARGET is the path in the container: \(Text.safe(parts[0])):/\(Text.safe(parts[0]))")
        }
        var map = ValueMap()
        if parts.count == 1 {
            map["type"] = "volume"
            map["target"] = .string(parts[0])
            return .map(map)
        }
        let isPath = parts[0].hasPrefix("/") || parts[0].hasPrefix(".") || parts[0].hasPrefix("~")
        map["type"] = isPath ? "bind" : "volume"
        map["source"] = .string(isPath ? hostPath(parts[0]) : parts[0])
        map["target"] = .string(parts[1])
        for option in parts.count > 2 ? parts[2].split(separator: ",").map(String.init) : [] {
            switch option {
            case "ro", "readonly": map["readonly"] = true
            case "rw": break
            // SELinux labels: there is nothing to do on a host without them, and a user's habit shouldn't fail.
            case "z", "Z": break
            case "rprivate", "private": break
            case "rslave", "slave": map["options"] = ["propagation": "slave"]
            default:
                throw LunetteError(
                    .invalidArgument, "read --volume \"\(item)\": unknown option \"\(option)\"", hint: "known: ro, rw, rslave, rprivate")
            }
        }
        return .map(map)
    }

    /// `type=…,source=…,target=…,readonly`.
    static func mount(_ item: String) throws(LunetteError) -> Value {
        var map = ValueMap()
        var options = ValueMap()
        map["type"] = "volume"
        for part in item.split(separator: ",") {
            let equals = part.firstIndex(of: "=")
            let name = String(equals.map { part[..<$0] } ?? part)
            let value = equals.map { String(part[part.index(after: $0)...]) }
            switch (name, value) {
            case ("type", let value?): map["type"] = .string(value)
            case ("source", let value?), ("src", let value?): map["source"] = .string(value)
            case ("target", let value?), ("dst", let value?), ("destination", let value?): map["target"] = .string(value)
            case ("readonly", nil), ("ro", nil), ("readonly", "true"), ("ro", "true"), ("readonly", "1"), ("ro", "1"):
                map["readonly"] = true
            case ("readonly", "false"), ("ro", "false"), ("readonly", "0"), ("ro", "0"): break
            case ("tmpfs-size", let value?): options["size"] = Pairs.number(value)
            case ("tmpfs-mode", let value?): options["mode"] = .string(value)
            case ("bind-propagation", let value?):
                options["propagation"] = .string(value.hasPrefix("r") ? String(value.dropFirst()) : value)
            case ("volume-subpath", let value?): options["subpath"] = .string(value)
            default:
                let known = ["type", "source", "target", "readonly", "tmpfs-size", "tmpfs-mode", "bind-propagation", "volume-subpath"]
                throw LunetteError(
                    .invalidArgument, "read --mount \"\(item)\": unknown field \"\(part)\"",
                    hint: nearest(to: name, in: known).map { "did you mean \"\($0)\"?" } ?? "known: " + known.joined(separator: ", "))
            }
        }
        guard map["target"] != nil else { throw LunetteError(.invalidArgument, "read --mount \"\(item)\": it has no target") }
        if map["type"] == "bind", let source = map["source"]?.stringValue { map["source"] = .string(hostPath(source)) }
        if !options.isEmpty { map["options"] = .map(options) }
        return .map(map)
    }

    /// `TARGET[:size=64m,mode=1777]`.
    static func tmpfs(_ item: String) throws(LunetteError) -> Value {
        let parts = item.split(separator: ":", maxSplits: 1).map(String.init)
        guard let target = parts.first else {
            throw LunetteError(.invalidArgument, "read --tmpfs \"\(item)\"", hint: "write TARGET or TARGET:size=64m")
        }
        var map: ValueMap = ["type": "tmpfs", "target": .string(target)]
        var options = ValueMap()
        for option in parts.count > 1 ? parts[1].split(separator: ",").map(String.init) : [] {
            switch option {
            case "ro": map["readonly"] = true
            case "rw", "nosuid", "nodev": break
            default:
                let (name, value) = try Pairs.split(option, option: "--tmpfs \(item), option", form: "size=64m or mode=1777")
                options[name] = .string(value)
            }
        }
        if !options.isEmpty { map["options"] = .map(options) }
        return .map(map)
    }

    private static func hostPath(_ path: String) -> String {
        if path == "~" || path.hasPrefix("~/"), let home = Environment["HOME"] { return home + path.dropFirst() }
        return APIRegistry.absolutePath(path, directory: workingDirectory())
    }
}
