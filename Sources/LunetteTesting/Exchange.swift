/// Has two names change places at one moment (renameat2(2), RENAME_EXCHANGE), as the host's user: Glibc's module leaves the call out.
/// - Throws: when the kernel refuses.
public func exchangeNames(_ one: String, _ other: String) async throws {
    let program = """
        from sys import argv, exit; from os import fsencode; from ctypes import CDLL
        one, other = map(fsencode, argv[1:])
        exit(CDLL(None).renameat2(-100, one, -100, other, 2) != 0)
        """
    try await Command("python3", "-c", program, one, other).run()
}
