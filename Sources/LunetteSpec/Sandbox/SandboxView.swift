/// What a sandbox sees of the file system: rules, put in order. Parents come before what lies in them, so that the narrower rule stands on top.
package struct SandboxView: Sendable {
    package enum Access: Sendable, Hashable {
        case read, write, layer, memory(size: Int64?, mode: UInt32)
        package var isMemory: Bool { if case .memory = self { true } else { false } }
    }

    package struct Item: Sendable, Hashable {
        package var path: String
        package var kind: SandboxFacts.Kind
        package var access: Access
        /// What was found when the rule was read.
        package var expectation = TreePlan.Expectation.anything
    }

    package private(set) var system: [SandboxFacts.SystemEntry] = []
    package private(set) var items: [Item] = []
    /// Rules that were given by a path with symbolic links in it.
    package private(set) var links: [(path: String, target: String)] = []
    package private(set) var hidden: [String] = []
    /// Folders between a writable rule and a narrower one in it. As mount points they can't be renamed: whoever could move one away and put another
    /// in its place would have the narrower rule's path for itself, and in the next sandbox what the rule kept from it.
    package private(set) var pinned: [Item] = []
    package private(set) var workdir = "/"

    /// - Throws: `not_found` and `invalid_argument` with the rule's path.
    package init(_ spec: SandboxSpec, _ facts: SandboxFacts) throws(LunetteError) {
        try Self.refuseReplacedBytes(spec)
        var byPath = PathTable<Item>()
        // The wider access of two for one path wins: "read this, write that" says both on purpose.
        for (key, rules, access) in [
            ("allow_read", spec.allowRead, Access.read), ("private", spec.privateWrite, .layer), ("allow_write", spec.allowWrite, .write),
        ] {
            for (index, text) in rules.enumerated() {
                let place = "\(key)[\(index + 1)]"
                guard let found = facts.found[text] else {
                    throw LunetteError(
                        .notFound, "\(displayable(text)): there is nothing of this name", path: place,
                        hint: access == .write ? "make it first: mkdir -p \(displayable(text))" : nil)
                }
                try Self.check(found, place)
                if access == .layer, found.kind != .directory {
                    throw LunetteError(.invalidArgument, "\(displayable(text)) is no folder", path: place)
                }
                byPath[found.path] = Item(path: found.path, kind: found.kind, access: access, expectation: found.expectation)
                let given = SandboxPath.absolute(text, directory: facts.directory, home: facts.home)
                if let normal = try? ContainerPath.normalise(given), normal != found.path { links.append((normal, found.path)) }
            }
        }
        if spec.preset == .system {
            for entry in facts.system {
                // A rule for the same path, or for a folder around it, says it all.
                let path = entry.path
                if !byPath.values.contains(where: { ContainerPath.isWithin(path, $0.path) && $0.path != "/" }) { system.append(entry) }
            }
        }
        func addMemory(_ path: String, _ size: Int64?, mode: UInt32) {
            // What a rule gives is there. A home below /tmp isn't: that is another folder in memory, and one more in it is made.
            if byPath[path] != nil || byPath.values.contains(where: { !$0.access.isMemory && ContainerPath.isWithin(path, $0.path) }) {
                return
            }
            byPath[path] = Item(path: path, kind: .directory, access: .memory(size: size, mode: mode))
        }
        addMemory("/tmp", nil, mode: 0o1777)
        addMemory("/var/tmp", nil, mode: 0o1777)
        // A home that is empty: programs find one, and nothing that lies in the real one.
        if facts.home != "/", (try? ContainerPath.normalise(facts.home)) == facts.home, !ContainerPath.isWithin("/usr", facts.home) {
            addMemory(facts.home, nil, mode: 0o700)
        }
        for (index, tmpfs) in spec.tmpfs.enumerated() {
            let path = try ContainerPath.normalise(
                SandboxPath.absolute(tmpfs.path, directory: facts.directory, home: facts.home), path: "tmpfs[\(index + 1)]")
            try Self.check(.init(path: path, kind: .directory), "tmpfs[\(index + 1)]")
            if let parent = facts.lackingParents[tmpfs.path],
                byPath.values.contains(where: { !$0.access.isMemory && ContainerPath.isWithin(path, $0.path) })
            {
                throw LunetteError(
                    .notFound, "\(displayable(parent)): there is nothing of this name to put a folder in memory into",
                    path: "tmpfs[\(index + 1)]", hint: "make it first: mkdir -p \(displayable(parent))")
            }
            byPath[path] = Item(path: path, kind: .directory, access: .memory(size: tmpfs.size, mode: 0o1777))
        }
        items = byPath.values.sorted { Self.stands($0, before: $1) }
        for (index, text) in spec.hide.enumerated() {
            let path = try ContainerPath.normalise(
                facts.found[text]?.path ?? SandboxPath.absolute(text, directory: facts.directory, home: facts.home),
                path: "hide[\(index + 1)]")
            guard path != "/" else { throw LunetteError(.invalidArgument, "the root can't be hidden", path: "hide[\(index + 1)]") }
            hidden.append(path)
        }
        try refuseMovableLinks(spec, facts)
        hideOwnFolders(facts)
        // What isn't there is kept from nobody: whoever makes it has it.
        pinFolders(around: items.map(\.path) + spec.hide.compactMap { facts.found[$0]?.path } + facts.ownFolders.filter(hidden.contains))
        try setWorkdir(spec, facts)
    }

    /// A name that isn't UTF-8 has come here as another: a rule for that one holds nothing.
    private static func refuseReplacedBytes(_ spec: SandboxSpec) throws(LunetteError) {
        let lists = [
            ("allow_read", spec.allowRead), ("private", spec.privateWrite), ("allow_write", spec.allowWrite), ("hide", spec.hide),
            ("tmpfs", spec.tmpfs.map(\.path)),
        ]
        for (key, rules) in lists {
            for (index, text) in rules.enumerated() where text.unicodeScalars.contains("\u{fffd}") {
                throw LunetteError(
                    .invalidArgument, "\(displayable(text)) isn't UTF-8", path: "\(key)[\(index + 1)]",
                    hint: "name the folder around it, or rename it")
            }
        }
    }

    /// A link that the program can replace would lead the same rule elsewhere in the next sandbox: to what it wants to see, away from what is hidden.
    private func refuseMovableLinks(_ spec: SandboxSpec, _ facts: SandboxFacts) throws(LunetteError) {
        let lists = [
            ("allow_read", spec.allowRead), ("private", spec.privateWrite), ("allow_write", spec.allowWrite), ("hide", spec.hide),
            ("tmpfs", spec.tmpfs.map(\.path)),
        ]
        for (key, rules) in lists {
            for (index, text) in rules.enumerated() {
                guard let found = facts.found[text], let link = found.links.first(where: { access(to: Self.folder(of: $0)) == .write })
                else { continue }
                throw LunetteError(
                    .invalidArgument,
                    "\(displayable(text)) goes through the symbolic link \(displayable(link)), which the program could lead elsewhere",
                    path: "\(key)[\(index + 1)]", hint: "name what it leads to: \(displayable(found.path))")
            }
        }
    }

    /// Who may write there may put another in its place.
    private static func folder(of path: String) -> String { "/" + path.pathParts.dropLast().joined(separator: "/") }

    /// Whoever can talk to the engine or write its state is its user, sandbox or not: only a rule that names the folder gives it.
    private mutating func hideOwnFolders(_ facts: SandboxFacts) {
        for folder in facts.ownFolders
        where !(access(to: folder)?.isMemory ?? true) && !items.contains(where: { ContainerPath.isWithin($0.path, folder) }) {
            hidden.append(folder)
        }
    }

    private mutating func pinFolders(around paths: [String]) {
        var places = PathTable<Item>()
        for path in paths {
            var folder = ""
            for part in path.pathParts.dropLast() {
                folder += "/\(part)"
                guard case .write? = items.last(where: { ContainerPath.isWithin(folder, $0.path) })?.access,
                    !items.contains(where: { $0.path == folder })
                else { continue }
                places[folder] = Item(path: folder, kind: .directory, access: .write)
            }
        }
        pinned = places.values.sorted { Self.stands($0, before: $1) }
    }

    /// What is attached, in the order in which it has to be.
    var mounts: [Item] { (items + pinned).sorted { Self.stands($0, before: $1) } }

    private static func stands(_ one: Item, before other: Item) -> Bool {
        one.path.pathParts.lexicographicallyPrecedes(other.path.pathParts)
    }

    private mutating func setWorkdir(_ spec: SandboxSpec, _ facts: SandboxFacts) throws(LunetteError) {
        if let wanted = spec.workdir {
            workdir = try ContainerPath.normaliseWorkingDirectory(
                SandboxPath.absolute(wanted, directory: facts.directory, home: facts.home), path: "workdir")
            return
        }
        workdir = [facts.directory, facts.home].first { sees($0) } ?? "/"
    }

    /// Where mounts hold a rule inside a folder of the host's: whoever renames, replaces or removes that outside takes them away.
    package func mountsOnTheHost(_ facts: SandboxFacts) -> [String] {
        let there = Set(facts.found.values.map(\.path) + facts.ownFolders)
        return (items + pinned).map(\.path).filter { hostTree(around: $0, besides: $0) != nil }
            + hidden.filter { there.contains($0) && hostTree(around: $0) != nil }
    }

    /// The folders on the way to them from the rule that shows them: a mount goes where they are moved.
    package func waysOnTheHost(to mounts: [String]) -> [String] {
        var ways = PathTable<String>()
        for mount in mounts {
            guard let tree = hostTree(around: mount, besides: mount) else { continue }
            var folder = ""
            for part in mount.pathParts.dropLast() {
                folder += "/\(part)"
                if folder != tree, ContainerPath.isWithin(folder, tree) { ways[folder] = folder }
            }
        }
        return ways.values.sorted()
    }

    /// The tree of the host's that a path is seen in, without the rule for the path itself; nil where that is a layer, memory or nothing.
    private func hostTree(around path: String, besides own: String? = nil) -> String? {
        if let around = items.last(where: { ContainerPath.isWithin(path, $0.path) && $0.path != own }) {
            switch around.access {
            case .read, .write: return around.path
            case .layer, .memory: return nil
            }
        }
        for case .tree(let tree, .directory) in system where ContainerPath.isWithin(path, tree) && tree != path { return tree }
        return nil
    }

    /// Whether a path of the host is there inside, as far as rules say.
    package func sees(_ path: String) -> Bool { access(to: path) != nil }

    /// The access that the narrowest rule gives; nil when no rule covers the path.
    package func access(to path: String) -> Access? {
        if hidden.contains(where: { ContainerPath.isWithin(path, $0) }) { return nil }
        if let item = items.last(where: { ContainerPath.isWithin(path, $0.path) }) { return item.access }
        for case .tree(let tree, _) in system where ContainerPath.isWithin(path, tree) { return .read }
        for case .link(let link, _) in system where ContainerPath.isWithin(path, link) { return .read }
        return nil
    }

    /// What a sandbox makes itself can't be a rule's.
    private static func check(_ found: SandboxFacts.Found, _ place: String) throws(LunetteError) {
        let path = found.path
        if path == "/" {
            throw LunetteError(
                .unsupported, "the whole file system is no sandbox", path: place,
                hint: "name the folders that are needed, such as /opt or /srv/data")
        }
        if ContainerPath.isWithin(path, "/proc") {
            throw LunetteError(.invalidArgument, "/proc is the sandbox's own", path: place)
        }
        if ContainerPath.isWithin(path, "/dev") {
            throw LunetteError(
                .invalidArgument, "/dev is the sandbox's own", path: place,
                hint: "name a device: devices = { \"/dev/kvm\" }, --dev /dev/kvm")
        }
    }

    // MARK: Landlock

    /// The same rules once more, in a layer that doesn't know of mounts.
    func landlock(_ spec: SandboxSpec, _ facts: SandboxFacts) -> LandlockPlan {
        typealias Rights = LandlockPlan.FileRights
        var plan = LandlockPlan(handledFiles: .all, scopes: [.abstractSocket, .signal])
        // To list folders gives nothing away that isn't mounted here.
        plan.paths.append(.init(path: "/", .readDirectory))
        for case .tree(let path, _) in system { plan.paths.append(.init(path: path, .readAndExecute)) }
        plan.paths.append(.init(path: "/proc", .read))
        plan.paths.append(.init(path: "/dev", [.readFile, .writeFile, .readDirectory, .truncate, .deviceIoctl]))
        plan.paths.append(.init(path: "/dev/shm", Rights.write.union(.read)))
        for item in items {
            switch item.access {
            case .read: plan.paths.append(.init(path: item.path, .readAndExecute))
            case .write, .layer, .memory: plan.paths.append(.init(path: item.path, Rights.write.union(.readAndExecute)))
            }
        }
        if let ports = spec.connectPorts {
            plan.handledPorts.insert(.connect)
            plan.ports += ports.map { .init(port: $0, .connect) }
        }
        if let ports = spec.bindPorts {
            plan.handledPorts.insert(.bind)
            plan.ports += ports.map { .init(port: $0, .bind) }
        }
        return plan
    }
}

extension SandboxFacts.SystemEntry {
    package var path: String {
        switch self {
        case .tree(let path, _), .link(let path, _): path
        }
    }
}
