/// Has two names change places at one moment (renameat2(2), RENAME_EXCHANGE), as the host's user: Glibc's module leaves the call out.
/// - Throws: when the kernel refuses.
public func exchangeNames(_ one: String, _ other: String) async throws {
    let program = """
        import ctypes, os, sys
        one, other = map(os.fsencode, sys.argv[1:])
        sys.exit(ctypes.CDLL(None).renameat2(-100, one, -100, other, 2) != 0)
        """
    try await Command("python3", "-c", program, one, other).run()
}
