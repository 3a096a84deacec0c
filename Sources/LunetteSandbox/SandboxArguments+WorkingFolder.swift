internal import LunetteSpec

extension SandboxArguments {
    /// Flags that hide nothing because nothing of their name is there: a slip of the pen would leave readable what was meant. A policy may name what
    /// some trees have and others don't.
    func idleHides(_ facts: SandboxFacts) -> [String] {
        (table["hide"]?.arrayValue ?? []).compactMap(\.stringValue).filter { facts.found[$0] == nil }
            .map { "--hide \(displayable($0)): there is nothing of this name" }
    }

    /// What becomes of the working folder where a flag's rule has taken its place: what a program writes there would be lost without a word.
    ///
    /// A policy's rules, and a `--workdir`, say on purpose where the program is.
    /// - Throws: as `SandboxView`.
    func warning(_ spec: SandboxSpec, _ facts: SandboxFacts) throws(LunetteError) -> String? {
        // Nothing has, as a rule: the view is made for nothing then.
        guard spec.impliedFlag == nil, policy == nil, spec.workdir == nil, !Self.isEverything(facts.directory, home: facts.home) else {
            return nil
        }
        let view = try SandboxView(spec, facts)
        let instead = "a rule takes its place, --allow-write . keeps it"
        switch view.access(to: facts.directory) {
        // Hidden or put into memory by name.
        case _ where view.hidden.contains(facts.directory) || spec.tmpfs.contains { $0.path == facts.directory }: return nil
        case nil:
            return "the working folder \(displayable(facts.directory)) isn't there, it starts in \(displayable(view.workdir)): \(instead)"
        case .memory: return "the working folder \(displayable(facts.directory)) is in memory, what is written there is lost: \(instead)"
        case .read, .write, .layer: return nil
        }
    }
}
