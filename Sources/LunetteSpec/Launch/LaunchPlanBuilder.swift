/// Collects the steps of one plan, phase by phase.
struct LaunchPlanBuilder {
    let spec: RuntimeSpec
    let inputs: LaunchInputs
    var hostSteps = NotedSteps()
    var namespaceSteps = NotedSteps()
    var initSteps = NotedSteps()
    private var nextSlot: TreeSlot = 0

    init(spec: RuntimeSpec, inputs: LaunchInputs) {
        self.spec = spec
        self.inputs = inputs
    }

    var hasUserNamespace: Bool { spec.linux.namespace(.user) != nil }
    var mapping: TreePlan.Mapping { hasUserNamespace && inputs.mapsTrees ? .container : .none }

    mutating func build() throws(LunetteError) {
        hostSteps.append(.namespaces(try namespaces()))
        if let rootless = inputs.rootless { hostSteps.append(.rootless(rootless)) }
        if inputs.treesInside { hostSteps.append(.treesInside) }
        note(nil)
        if !inputs.cgroupsV1.isEmpty || inputs.cgroupV2 != nil { hostSteps.append(.joinCgroups(v1: inputs.cgroupsV1, v2: inputs.cgroupV2)) }
        note("linux.cgroupsPath")
        if let score = spec.process?.oomScoreAdj { hostSteps.append(.setOOMScore(Int(score))) }
        note("process.oomScoreAdj")
        try addRoot()
        note("root.path")
        try addNames()
        try addMounts()
        try addSettings()
        addCreationHooks()
        initSteps.append(.pivotRoot)
        note("root.path")
        addWorkingDirectory()
        for (index, path) in spec.linux.maskedPaths.enumerated() {
            let field = "linux.maskedPaths[\(index)]"
            initSteps.append(.maskPath(try ContainerPath.normalise(path, path: field)))
            note(field)
        }
        for (index, path) in spec.linux.readonlyPaths.enumerated() {
            let field = "linux.readonlyPaths[\(index)]"
            initSteps.append(.makeReadonly(try ContainerPath.normalise(path, path: field)))
            note(field)
        }
        if spec.root?.readonly == true { initSteps.append(.makeRootReadonly) }
        note("root.readonly")
        if rootPropagation != .private { initSteps.append(.setRootPropagation(rootPropagation)) }
        note("linux.rootfsPropagation")
    }

    /// All of them, in the order of the plan.
    var steps: [NotedSteps] { [hostSteps, namespaceSteps, initSteps] }

    /// Notes the field that asked for the steps which were added since the last note; nil when none did.
    mutating func note(_ field: String?) {
        hostSteps.note(field)
        namespaceSteps.note(field)
        initSteps.note(field)
    }

    /// Another program looks after the container, and the spec is that program's word for word.
    var isHandover: Bool { inputs.handover != nil }
    var rootPropagation: MountPropagation { spec.linux.rootfsPropagation.flatMap(MountPropagation.init(word:)) ?? .private }

    /// Made as the program's process makes it, while the root may still be written to: as runc does.
    private mutating func addWorkingDirectory() {
        guard spec.root?.readonly == true, let cwd = spec.process?.cwd, cwd != "/" else { return }
        initSteps.append(.makeDirectory(path: cwd, mode: 0o755))
        note("process.cwd")
    }

    private mutating func addCreationHooks() {
        if spec.hooks.pausesCreation { initSteps.append(.awaitHooks) }
        note(nil)
        let state = inputs.document(.creating, annotations: spec.annotations).template
        for (index, hook) in spec.hooks.createContainer.enumerated() {
            initSteps.append(.runHook(HookPlan(hook: hook, state: state)))
            note("hooks.createContainer[\(index)]")
        }
    }

    mutating func slot() throws(LunetteError) -> TreeSlot {
        guard nextSlot < TreeSlot.limit else {
            throw LunetteError(.resourceExhausted, "more than \(TreeSlot.limit) mounts and devices", path: "mounts")
        }
        defer { nextSlot += 1 }
        return nextSlot
    }

    // MARK: Root

    private mutating func addRoot() throws(LunetteError) {
        let root: TreeSlot
        switch inputs.root {
        case .overlay(let store, let lowers, let upper, let work):
            guard !lowers.isEmpty else {
                throw LunetteError(.invalidArgument, "an image without layers has nothing to run", path: "root.path")
            }
            let storeSlot = try slot()
            hostSteps.append(
                .openTree(TreePlan(slot: storeSlot, source: store, mapping: mapping, attributes: [.nodev], expectation: .directory)))
            root = try slot()
            let base = spec.linux.uidMappings.first { $0.containerID == 0 }?.hostID ?? (hasUserNamespace ? inputs.joinedIDBase : nil) ?? 0
            let groupBase = spec.linux.gidMappings.first { $0.containerID == 0 }?.hostID ?? base
            hostSteps.append(
                .openOverlay(
                    OverlayPlan(
                        slot: root, store: storeSlot, lowers: lowers, upper: upper, work: work, attributes: [.nodev], ownerUID: base,
                        ownerGID: groupBase
                    )
                )
            )
        case .directory(let source):
            root = try slot()
            // What is mounted below it can't always be id-mapped (proc, NFS), so it stays behind then. Another runtime's caller has given
            // the folder to the container's ids already, and decides by device rules which nodes may be opened.
            let isMapped = hasUserNamespace && !isHandover && inputs.mapsTrees
            hostSteps.append(
                .openTree(
                    TreePlan(
                        slot: root, source: source, recursive: !isMapped, mapping: isMapped ? mapping : .none,
                        attributes: isHandover && !hasUserNamespace ? [] : [.nodev], expectation: .directory,
                        propagation: rootPropagation == .shared ? .slave : rootPropagation))
            )
        }
        initSteps.append(.attachRoot(root))
    }
}
