import LunetteLinux
import LunetteSpec
import Testing

@Suite struct SeccompCacheTests {
    private func spec() throws -> RuntimeSpec {
        try RuntimeSpec(
            container: ContainerSpec(["image": "x", "args": ["true"]]), image: nil,
            facts: HostFacts(containerID: String(repeating: "a", count: 64), idRange: 100_000..<165_536, rootPath: "rootfs")
        )
    }

    private func withFolder(_ body: (String) throws -> Void) throws {
        let path = "/tmp/lunette-seccomp-\(UInt64.random(in: 0...UInt64.max))"
        let folder = try Directory(making: path)
        defer {
            try? folder.removeContents()
            try? Directory("/tmp").removeTree(String(path.dropFirst(5)))
        }
        try body(path)
    }

    @Test func aCachedProgramIsTheCompiledOne() throws {
        try withFolder { path in
            let spec = try spec()
            let first = try SeccompCompiler(cacheDirectory: path).program(for: spec)
            #expect(first.bytes == (try SeccompCompiler.compile(.standard)))
            #expect(try Directory(path).entries().count == 1)
            #expect(try SeccompCompiler(cacheDirectory: path).program(for: spec) == first)
        }
    }

    @Test func aDamagedProgramIsCompiledAgain() throws {
        try withFolder { path in
            let spec = try spec()
            let whole = try SeccompCompiler(cacheDirectory: path).program(for: spec)
            let folder = try Directory(path)
            let name = try #require(try folder.entries().first)
            let bytes = try #require(try folder.read(name))
            // Cut short at any byte of its head and in its program, and with its default action turned into "allow": none may be used.
            var flipped = bytes
            flipped[bytes.count - 2] ^= 0xff
            for damaged in (0...90).map({ Array(bytes.prefix($0)) }) + [Array(bytes.dropLast(80)), flipped] {
                try folder.write(name, damaged)
                #expect(try SeccompCompiler(cacheDirectory: path).program(for: spec) == whole)
            }
        }
    }

    @Test func anUnwritableCacheIsNoError() throws {
        let program = try SeccompCompiler(cacheDirectory: "/proc/no/such/folder").program(for: try spec())
        #expect(!program.bytes.isEmpty)
    }

    @Test func noProfileIsNoProgram() throws {
        var spec = try spec()
        spec.linux.seccomp = nil
        #expect(try SeccompCompiler(cacheDirectory: nil).program(for: spec) == .none)
    }
}
