import Glibc
import LunetteLinux
import LunetteSpec
import LunetteTesting
import Testing

/// Attacks 29 and 32 on the cgroup alone, on v1 and v2: root of the host with every capability is in it, so nothing else is what refuses.
@Suite(.requires(.root), .serialized) struct CgroupAttackTests {
    private func withCgroup(_ body: (ContainerCgroup) throws -> Void) throws {
        let site = CgroupSite(layout: CgroupLayout.detect()!, components: ["lunette-attack-\(getpid())-\(UInt32.random(in: 0...99999))"])
        let owned = try site.create()
        defer {
            #expect(throws: Never.self) { try #expect(site.cgroup.killAll()) }
            #expect(site.cgroup.remove(owned: owned).isEmpty)
        }
        try body(site.cgroup)
    }

    private func run(_ line: String, in cgroup: ContainerCgroup) throws -> String {
        let (output, input) = try FileDescriptor.pipe()
        let joins = cgroup.paths.map { "echo $$ >\($0)/cgroup.procs || exit 9; " }.joined()
        var request = SpawnRequest(.path("/bin/sh"), arguments: ["sh", "-c", joins + line])
        request.descriptors = [input, input, input]
        let child = try spawn(request)
        request.descriptors = []
        input.close()
        let text = String(decoding: try output.readAll(limit: 65536), as: UTF8.self).trimmed
        _ = try child.reap(block: true)
        return text
    }

    @Test func aDiskOpensForNobodyButWhoMay() async throws {
        try await withTemporaryDirectory { directory in
            let node = "\(directory.label)/disk"
            // One that opens for root at all: the disk that this machine runs on may be guarded otherwise.
            let numbers = try #require(
                try Directory("/sys/block").entries().sorted().lazy.compactMap { name -> [Int64]? in
                    let numbers = (readSmallFile("/sys/block/\(name)/dev") ?? "").trimmed.split(separator: ":").compactMap { Int64($0) }
                    guard numbers.count == 2, numbers[1] < 256, mknod(node, S_IFBLK | 0o600, dev_t(numbers[0] << 8 | numbers[1])) == 0
                    else { return nil }
                    defer { unlink(node) }
                    let fd = open(node, O_RDONLY | O_CLOEXEC)
                    guard fd >= 0 else { return nil }
                    close(fd)
                    return numbers
                }.first)
            try withCgroup { (cgroup: ContainerCgroup) throws in
                func attempt(_ line: String) throws -> Bool { try run("(\(line)) 2>/dev/null && echo yes", in: cgroup) == "yes" }
                func apply(_ rules: [Value]) throws {
                    #expect(
                        try cgroup.apply(try RuntimeSpec.Resources(["devices": .array([["allow": false, "access": "rwm"]] + rules)])) == [])
                }
                #expect(try attempt("mknod \(node) b \(numbers[0]) \(numbers[1]) && : <\(node)"), "the attack works without rules")
                try apply([])
                #expect(try !attempt(": <\(node)"))
                #expect(try !attempt("mknod \(node).2 b \(numbers[0]) \(numbers[1]) && : <\(node).2"), "nor by a node of its own")
                #expect(try !attempt("mknod \(node).3 c 1 1 && : <\(node).3"), "nor the machine's memory")
                #expect(try attempt(": </dev/zero") && attempt(": >/dev/null"), "every runtime's default devices open")
                let device: Value = ["allow": true, "type": "b", "major": .int(numbers[0]), "minor": .int(numbers[1]), "access": "r"]
                try apply([device])
                #expect(try attempt(": <\(node)"))
                #expect(try !attempt(": >>\(node)"), "for reading alone")
                try apply([device, ["allow": false, "type": "b", "access": "r"]])
                #expect(try !attempt(": <\(node)"), "the later rule decides")
            }
        }
    }

    @Test func aForkBombStopsAtItsLimit() throws {
        try withCgroup { (cgroup: ContainerCgroup) throws in
            let bomb = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 >/dev/null 2>&1 & done; echo all"
            #expect(try run(bomb, in: cgroup) == "all", "the attack works without a limit")
            #expect(cgroup.processes().count == 12)
            #expect(try cgroup.killAll())
            #expect(try cgroup.apply(try RuntimeSpec.Resources(["pids": ["limit": 6]])) == [])
            #expect(try run(bomb, in: cgroup).contains("ork"), "can't fork")
            #expect(cgroup.processes().count <= 6)
            #expect(cgroup.statistics().processLimit == 6)
        }
    }
}
