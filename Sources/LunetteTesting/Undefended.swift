public import Testing

/// Notes that an attack works where its defence is missing: by the same steps without it, with a weaker setting, or done the naive way. A test that
/// holds one of these can't pass because its attack wouldn't have worked anyhow; docs/security.md marks it with a *, and `AttackTableTests` compares.
///
///     try await undefended("a plain mkdir leads out", FileManager.default.fileExists(atPath: outside))
///
/// - Parameters:
///   - attack: what is done, and to what.
///   - works: whether it led to what the defence is to prevent. False fails the test.
///   - said: what was seen, for the message.
public func undefended(
    _ attack: String, _ works: Bool, _ said: @autoclosure () -> Any = "", sourceLocation: SourceLocation = #_sourceLocation
) {
    if works { return }
    Issue.record("undefended, this must work and doesn't, so the test proves nothing: \(attack) \(said())", sourceLocation: sourceLocation)
}
