import Foundation
import Glibc
import LunetteTesting
import Testing

@testable import LunetteLinux

/// What systemd passes to a service, and what it is told.
@Suite struct ServiceManagerTests {
    @Test func socketsAreTakenWhenTheyAreMeantForThisProcess() {
        let names = ServiceManager(["LISTEN_FDS": "3", "LISTEN_PID": "77", "LISTEN_FDNAMES": "lunette.socket:deploy"], pid: 77).sockets
        #expect(names.map(\.name) == ["lunette.socket", "deploy", "unknown"] && names.map(\.descriptor) == [3, 4, 5])
        for environment in [
            ["LISTEN_FDS": "1", "LISTEN_PID": "76"], ["LISTEN_FDS": "1"], ["LISTEN_FDS": "x", "LISTEN_PID": "77"],
            ["LISTEN_FDS": "-1", "LISTEN_PID": "77"], ["LISTEN_PID": "77"],
        ] {
            #expect(ServiceManager(environment, pid: 77).sockets.isEmpty, "\(environment)")
        }
        #expect(ServiceManager(["LISTEN_FDS": "2000000", "LISTEN_PID": "77"], pid: 77).sockets.count == 64)
    }

    @Test func aWatchdogIsThisProcessesOrNobodys() {
        #expect(ServiceManager(["WATCHDOG_USEC": "1500000"], pid: 77).watchdogPeriod == 1.5)
        #expect(ServiceManager(["WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "77"], pid: 77).watchdogPeriod == 1.5)
        for environment in [["WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "7"], ["WATCHDOG_USEC": "0"], ["WATCHDOG_USEC": "soon"], [:]] {
            #expect(ServiceManager(environment, pid: 77).watchdogPeriod == nil, "\(environment)")
        }
    }

    @Test(arguments: [false, true]) func whatIsToldArrivesAsOneDatagram(isAbstract: Bool) throws {
        let listener = try Datagrams(isAbstract: isAbstract)
        defer { listener.close() }
        let manager = ServiceManager(["NOTIFY_SOCKET": listener.name], pid: getpid())
        #expect(manager.isThere)
        #expect(manager.tell("READY=1", "STATUS=two\nlines"))
        #expect(listener.next() == "READY=1\nSTATUS=two lines")
        manager.tellReloading()
        let reloading = try #require(listener.next()).split(separator: "\n")
        #expect(reloading.count == 2 && reloading[0] == "RELOADING=1" && UInt64(reloading[1].dropFirst(15)) != nil, "\(reloading)")
    }

    @Test func aManagerThatIsGoneHoldsNothingUp() {
        #expect(!ServiceManager(["NOTIFY_SOCKET": "/nowhere/notify"], pid: 1).tell("READY=1"))
        #expect(!ServiceManager(["NOTIFY_SOCKET": "vsock:2:1"], pid: 1).isThere)
        #expect(!ServiceManager(["NOTIFY_SOCKET": "/" + String(repeating: "x", count: 200)], pid: 1).tell("READY=1"))
        #expect(!ServiceManager([:], pid: 1).tell("READY=1"))
    }

    @Test func onlyAListeningUnixSocketWithAPathIsOne() throws {
        var pair: [Int32] = [-1, -1]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
        defer { for end in pair { close(end) } }
        #expect(ListeningSocket.path(of: pair[0]) == nil)
        let file = open("/dev/null", O_RDONLY)
        defer { close(file) }
        #expect(ListeningSocket.path(of: file) == nil)
        let path = "/tmp/lnt-listen.\(getpid())"
        let listening = try UnixSocket.listen(path, kind: .stream)
        defer { unlink(path) }
        #expect(ListeningSocket.path(of: listening.descriptor.number) == path)
    }

    @Test func monitorsLiveBesideTheServiceNotInIt() throws {
        let mounts = """
            30 1 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
            31 1 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
            32 1 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
            """
        #expect(ShimCgroup(own: "1:name=systemd:/\n4:memory:/a\n0::/\n", mounts: mounts) == nil)
        #expect(ShimCgroup(own: "0::/system.slice/lunette.service\n", mounts: mounts) != nil)
        #expect(ShimCgroup(own: "4:memory:/a\n", mounts: mounts) == nil)
    }
}

/// A datagram socket that stands for the manager's.
private struct Datagrams {
    let name: String
    private let descriptor: Int32
    private let path: String?

    init(isAbstract: Bool) throws {
        let word = "lnt-notify.\(UInt32.random(in: 0...UInt32.max))"
        path = isAbstract ? nil : "/tmp/\(word)"
        name = isAbstract ? "@\(word)" : "/tmp/\(word)"
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(name.utf8)
        if isAbstract { bytes[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let size = socklen_t(2 + bytes.count + (isAbstract ? 0 : 1))
        let descriptor = descriptor
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
        }
        try #require(bound == 0)
    }

    func next() -> String? {
        var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&waiting, 1, 5000) > 0 else { return nil }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        return count >= 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
    }

    func close() {
        Glibc.close(descriptor)
        if let path { unlink(path) }
    }
}
