import CLinux
import LunetteLinux
import LunetteSpec
import Testing

@testable import LunetteRuntime

@Suite struct ShimConnectionTests {
    /// A launch that fails at once ends before START is read; the kernel then says "reset" before it hands out the failure.
    @Test func aFailureIsHeardThoughARequestWasLeftUnread() async throws {
        let (ours, gone) = try Self.shimThatFailed()
        #expect(gone)
        let connection = ShimConnection(ours, id: "x")
        try connection.open { _ in }
        let outcome = await connection.created.value()
        let failure = #expect(throws: LunetteError.self) { try outcome.get() }
        #expect(failure?.errno == 13 && failure?.message.contains("/somewhere") == true, "\(String(describing: failure))")
        connection.close()
    }

    /// The same when START comes later still: to a socket that nobody holds.
    @Test(arguments: [false, true]) func aFailureIsHeardThoughARequestCameTooLate(afterItWasRead: Bool) async throws {
        let (ours, gone) = try Self.shimThatFailed()
        #expect(gone)
        let connection = ShimConnection(ours, id: "x")
        try connection.open { _ in }
        if afterItWasRead { await connection.closed.value() }
        let failure = await #expect(throws: LunetteError.self) { try await connection.post { _ in [1, 2, 3, 4] } }
        #expect(failure?.errno == 13 && failure?.message.contains("/somewhere") == true, "\(String(describing: failure))")
        connection.close()
    }

    /// Our end of a connection whose other end has said that it failed and is closed, with a request of ours in its hands.
    private static func shimThatFailed() throws -> (UnixSocket, Bool) {
        let (ours, theirs) = try UnixSocket.pair(kind: .packet)
        try ours.send([1, 2, 3, 4])
        var failure = lnt_failure()
        failure.message.type = LNT_MSG_FAILED.rawValue
        failure.step = LNT_OPEN_TREE.rawValue
        failure.error = 13
        withUnsafeMutableBytes(of: &failure.path) { $0.copyBytes(from: "/somewhere".utf8) }
        return (ours, try theirs.send(withUnsafeBytes(of: failure) { Array($0) }) != nil)
    }
}
