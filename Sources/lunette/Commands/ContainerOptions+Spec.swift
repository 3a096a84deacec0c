import ArgumentParser
import Glibc
import LunetteAPI
import LunetteSpec

extension ContainerOptions {
    /// Writes the flags as the contract's spec.
    /// - Parameter words: the image, then the command.
    /// - Throws: `invalid_argument` for a flag that can't be read, `unsupported` for one of a later version.
    func spec(_ words: [String]) throws(LunetteError) -> ValueMap {
        try later.refuse()
        if newPod, pod != nil {
            throw LunetteError(.invalidArgument, "use --new-pod with --pod: a pod is in no other", hint: "leave one of them out")
        }
        var spec = ValueMap()
        if newPod {
            spec["pod"] = true
        } else {
            spec["image"] = .string(words[0])
        }
        if let pod { spec["pod"] = .string(pod) }
        if words.count > 1 { spec["args"] = .array(words.dropFirst().map(Value.string)) }
        if let name { spec["name"] = .string(name) }
        if let entrypoint {
            // An empty one takes the image's away. What follows the image is its arguments, as in Docker: the image's own go too.
            spec["entrypoint"] = .array(entrypoint.isEmpty ? [] : [.string(entrypoint)])
            if words.count == 1, !entrypoint.isEmpty { spec["args"] = .array([]) }
        }
        try environment(&spec)
        try mounts(&spec)
        try namespaces(&spec)
        try limits(&spec)
        try security(&spec)
        try life(&spec)
        if let user { spec["user"] = .string(user) }
        if let workdir { spec["workdir"] = .string(workdir) }
        if let hostname { spec["hostname"] = .string(hostname) }
        if tty { spec["tty"] = true }
        if interactive { spec["stdin"] = true }
        if !`init` { spec["init"] = false }
        if readOnly { spec["readonly_rootfs"] = true }
        try labels(&spec)
        try runtimeFields(&spec)
        if !device.isEmpty { spec["devices"] = .array(try devices()) }
        return spec
    }

    private func labels(_ spec: inout ValueMap) throws(LunetteError) {
        var map = ValueMap()
        for file in labelFile {
            let lines = try HostFile.lines(file, option: "--label-file").filter { !$0.isEmpty && !$0.hasPrefix("#") }
            for (name, value) in try Pairs.read(lines, option: "--label-file \(file)", valueMayMiss: true) { map[name] = value }
        }
        for (name, value) in try Pairs.read(label, option: "--label", valueMayMiss: true) { map[name] = value }
        if !map.isEmpty { spec["labels"] = .map(map) }
    }

    /// What has no word of its own in the contract, in the runtime spec's.
    private func runtimeFields(_ spec: inout ValueMap) throws(LunetteError) {
        var process = ValueMap()
        if let oomScoreAdj {
            guard (-1000...1000).contains(oomScoreAdj) else {
                throw LunetteError(.invalidArgument, "read --oom-score-adj \(oomScoreAdj): it is -1000 to 1000")
            }
            process["oomScoreAdj"] = .int(Int64(oomScoreAdj))
        }
        var groups: [Value] = []
        for group in groupAdd {
            guard let id = UInt32(group) else {
                throw LunetteError(
                    .unsupported, "use --group-add \(Text.safe(group)): groups by name aren't built yet",
                    hint: "give its number in the image's /etc/group; --user NAME brings all groups of that user")
            }
            guard id < 65536 || userns == "host" else {
                throw LunetteError(
                    .invalidArgument, "use --group-add \(id): a container has the ids 0 to 65535", hint: "--userns host has the host's")
            }
            groups.append(.int(Int64(id)))
        }
        if !groups.isEmpty { process["user"] = ["additionalGids": .array(groups)] }
        var fields = ValueMap()
        if !process.isEmpty { fields["process"] = .map(process) }
        if let domainname { fields["domainname"] = .string(domainname) }
        if !fields.isEmpty { spec["oci"] = .map(fields) }
    }

    private func environment(_ spec: inout ValueMap) throws(LunetteError) {
        var map = ValueMap()
        for file in envFile {
            try Pairs.set(from: file, in: &map)
        }
        for item in env { try Pairs.set(item, in: &map, option: "--env") }
        if !map.isEmpty { spec["env"] = .map(map) }
    }

    private func namespaces(_ spec: inout ValueMap) throws(LunetteError) {
        if let network {
            guard !["bridge", "default"].contains(network) else {
                throw LunetteError(
                    .unsupported, "use --network \(network): not built yet",
                    hint: "networks come with a later version; use none, host or container:NAME")
            }
            spec["network"] = .string(network)
        }
        if let pid { spec["pid"] = .string(pid) }
        if let ipc { spec["ipc"] = .string(ipc) }
        if !dns.isEmpty { spec["dns"] = .array(dns.map(Value.string)) }
    }

    private func limits(_ spec: inout ValueMap) throws(LunetteError) {
        var resources = ValueMap()
        if let memory { resources["memory"] = .string(memory) }
        if let memorySwap { resources["memory_swap"] = memorySwap == "-1" ? -1 : .string(memorySwap) }
        if let memoryReservation { resources["memory_reservation"] = .string(memoryReservation) }
        if let cpus { resources["cpus"] = .double(cpus) }
        if let quota = try CPUQuota.cpus(quota: cpuQuota, period: cpuPeriod, beside: cpus) { resources["cpus"] = quota }
        if let cpuShares { resources["cpu_shares"] = .int(Int64(cpuShares)) }
        if let cpusetCpus { resources["cpuset"] = .string(cpusetCpus) }
        if let pidsLimit { resources["pids"] = .int(Int64(pidsLimit == 0 ? -1 : pidsLimit)) }
        if let cpusetMems { resources["cpuset_memory"] = .string(cpusetMems) }
        if let oom { resources["oom"] = .string(oom) }
        if let blkioWeight { resources["io_weight"] = .int(Int64(blkioWeight)) }
        if let shmSize { resources["shm_size"] = .string(shmSize) }
        if !resources.isEmpty { spec["resources"] = .map(resources) }
        if !ulimit.isEmpty {
            var map = ValueMap()
            for item in ulimit {
                let (name, value) = try Pairs.split(item, option: "--ulimit", form: "name=soft[:hard]")
                let parts = value.split(separator: ":", omittingEmptySubsequences: false).map { $0 == "unlimited" ? -1 : Int64($0) }
                guard (1...2).contains(parts.count), let soft = parts[0], let hard = parts[parts.count - 1] else {
                    throw LunetteError(
                        .invalidArgument, "read --ulimit \"\(item)\": limits are numbers", hint: "write nofile=1024 or nofile=1024:2048")
                }
                map[name] = ["soft": .int(soft), "hard": .int(hard)]
            }
            spec["rlimits"] = .map(map)
        }
        if !sysctl.isEmpty { spec["sysctls"] = .map(try Pairs.read(sysctl, option: "--sysctl", valueMayMiss: false)) }
    }

    private func security(_ spec: inout ValueMap) throws(LunetteError) {
        var security = ValueMap()
        var capabilities = ValueMap()
        if !capAdd.isEmpty { capabilities["add"] = .array(capAdd.map(Value.string)) }
        if !capDrop.isEmpty { capabilities["drop"] = .array(capDrop.map(Value.string)) }
        if !capabilities.isEmpty { security["capabilities"] = .map(capabilities) }
        if privileged { security["privileged"] = true }
        if let userns {
            guard userns == "host" else {
                throw LunetteError(
                    .invalidArgument, "read --userns \"\(userns)\"",
                    hint: "every container has its own user namespace; only \"host\" can be asked for")
            }
            security["user_namespace"] = false
        }
        for option in securityOpt {
            // Docker takes both name=value and, from its first days, name:value.
            let at = option.firstIndex { $0 == "=" || $0 == ":" }
            let name = at.map { String(option[..<$0]) } ?? option
            let value = at.map { String(option[option.index(after: $0)...]) }
            switch (name, value) {
            case ("no-new-privileges", nil), ("no-new-privileges", "true"): security["no_new_privileges"] = true
            case ("no-new-privileges", "false"): security["no_new_privileges"] = false
            case ("seccomp", "unconfined"), ("seccomp", "default"): security["seccomp"] = .string(value!)
            case ("seccomp", let path?): security["seccomp"] = .string(APIRegistry.absolutePath(path, directory: workingDirectory()))
            case ("systempaths", "unconfined"):
                security["masked_paths"] = .array([])
                security["readonly_paths"] = .array([])
            case ("apparmor", _), ("label", _):
                throw LunetteError(
                    .unsupported, "use --security-opt \(option): AppArmor and SELinux aren't built yet",
                    hint: "seccomp, capabilities and Landlock are: --security-opt seccomp=FILE, --cap-drop, security.landlock in a script")
            default:
                throw LunetteError(
                    .invalidArgument, "read --security-opt \"\(option)\"",
                    hint: "known: seccomp=FILE|unconfined, no-new-privileges[=false], systempaths=unconfined")
            }
        }
        if !security.isEmpty { spec["security"] = .map(security) }
    }

    private func life(_ spec: inout ValueMap) throws(LunetteError) {
        if rm { spec["remove_on_exit"] = true }
        if let restart { spec["restart"] = try RestartOption.read(restart) }
        var stop = ValueMap()
        if let stopSignal { stop["signal"] = .string(stopSignal) }
        if let stopTimeout { stop["grace_period"] = Pairs.number(stopTimeout) }
        if !stop.isEmpty { spec["stop"] = .map(stop) }
        if let timeLimit { spec["time_limit"] = Pairs.number(timeLimit) }
        if let health = try health.value() { spec["health"] = health }
        if let lifecycle { spec["lifecycle"] = .string(lifecycle) }
        var log = ValueMap()
        for item in logOpt {
            let (name, value) = try Pairs.split(item, option: "--log-opt", form: "name=value")
            switch name {
            case "max-size": log["max_size"] = .string(value)
            case "max-file": log["max_files"] = Pairs.number(value)
            default: throw LunetteError(.invalidArgument, "read --log-opt \"\(item)\"", hint: "known: max-size, max-file")
            }
        }
        if !log.isEmpty { spec["log"] = .map(log) }
    }

    private func devices() throws(LunetteError) -> [Value] {
        device.map { item in
            let parts = item.split(separator: ":").map(String.init)
            var map = ValueMap()
            map["source"] = .string(parts.first ?? "")
            if parts.count == 2, !parts[1].hasPrefix("/") {
                map["permissions"] = .string(parts[1])
            } else if parts.count > 1 {
                map["target"] = .string(parts[1])
                if parts.count > 2 { map["permissions"] = .string(parts[2]) }
            }
            return .map(map)
        }
    }
}

/// Docker's restart policies in the contract's words.
enum RestartOption {
    static let completion = CompletionKind.list(["no", "on-failure", "always", "unless-stopped"])

    static func read(_ text: String) throws(LunetteError) -> Value {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        switch (parts[0], parts.count) {
        case ("no", 1), ("never", 1): return "never"
        // Ours always remembers that a user stopped it.
        case ("always", 1), ("unless-stopped", 1): return "always"
        case ("on-failure", 1), ("on_failure", 1): return "on_failure"
        case ("on-failure", 2), ("on_failure", 2):
            guard let count = Int64(parts[1]), count > 0 else { break }
            return ["policy": "on_failure", "max_attempts": .int(count)]
        default: break
        }
        throw LunetteError(.invalidArgument, "read --restart \"\(text)\"", hint: "known: no, on-failure[:N], always, unless-stopped")
    }
}

/// `name=value` options.
enum Pairs {
    static func split(_ item: String, option: String, form: String) throws(LunetteError) -> (String, String) {
        guard let equals = item.firstIndex(of: "="), equals > item.startIndex else {
            throw LunetteError(.invalidArgument, "read \(option) \"\(item)\"", hint: "write \(form)")
        }
        return (String(item[..<equals]), String(item[item.index(after: equals)...]))
    }

    static func read(_ items: [String], option: String, valueMayMiss: Bool) throws(LunetteError) -> ValueMap {
        var map = ValueMap()
        for item in items {
            if valueMayMiss, !item.contains("="), !item.isEmpty {
                map[item] = ""
            } else {
                let (name, value) = try split(item, option: option, form: "name=value")
                map[name] = .string(value)
            }
        }
        return map
    }

    /// A variable; a name alone is taken from our own environment, and left out when it isn't there.
    /// - Throws: `invalid_argument` for what neither sets a variable nor can name one.
    static func set(_ item: String, in map: inout ValueMap, option: String) throws(LunetteError) {
        if let (name, value) = item.cut(at: "=") {
            guard name.utf8.contains(where: { !isBlank($0) }) else {
                throw LunetteError(
                    .invalidArgument, "read \(option): \"\(Text.safe(item))\" has no name", hint: "write NAME=VALUE")
            }
            map[String(name)] = .text(Array(value.utf8))
        } else if let value = getenv(item) {
            map[item] = .string(String(cString: value))
        } else {
            do throws(LunetteError) { try Names.validateVariable(item) } catch {
                var error = error
                error.message = "read \(option): \(error.message)"
                throw error
            }
        }
    }

    /// The variables of an `--env-file`; as in Docker's, what stands before a name is no part of it, and a name has no blank.
    static func set(from file: String, in map: inout ValueMap) throws(LunetteError) {
        let option = "--env-file \(Text.safe(file))"
        for line in try HostFile.lines(file, option: "--env-file") {
            // By bytes: a combining mark would hide the blank before it.
            let text = String(decoding: line.utf8.drop(while: isBlank), as: UTF8.self)
            guard let first = text.utf8.first, first != UInt8(ascii: "#") else { continue }
            if let (name, _) = text.cut(at: "="), name.utf8.contains(where: isBlank) {
                throw LunetteError(
                    .invalidArgument, "read \(option): \"\(Text.safe(String(name)))\" can name no variable",
                    hint: "write NAME=VALUE without a blank before the \"=\"")
            }
            try set(text, in: &map, option: option)
        }
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || (9...13).contains(byte) }

    /// Durations and counts without a unit are numbers.
    static func number(_ text: String) -> Value { Int64(text).map(Value.int) ?? Double(text).map(Value.double) ?? .string(text) }
}

/// Files of the user's that a command reads itself.
enum HostFile {
    static func lines(_ path: String, option: String) throws(LunetteError) -> [String] {
        let bytes = try read(path, what: option)
        return String(decoding: bytes, as: UTF8.self).byteLines.map(String.init)
    }

    static func read(_ path: String, what: String) throws(LunetteError) -> [UInt8] {
        let fd = open(path, O_RDONLY | O_CLOEXEC)
        guard fd >= 0 else { throw LunetteError(errno == ENOENT ? .notFound : .io, "read \(what) \(path): \(Errno(errno))", errno: errno) }
        defer { close(fd) }
        return try read(fd, what: "\(what) \(path)")
    }

    private static let limit = 64 << 20

    static func read(_ fd: Int32, what: String) throws(LunetteError) -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = Glibc.read(fd, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw LunetteError(.io, "read \(what): \(Errno(errno))", errno: errno) }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
            // A device or a pipe need have no end.
            guard bytes.count <= limit else {
                throw LunetteError(.resourceExhausted, "read \(what): it has more than \(limit >> 20) MiB")
            }
        }
    }
}
