import Foundation
import Glibc
import LunetteSpec
import LunetteTesting
import Testing

/// `lunette-oci` killed anywhere: `list` shows what is left, `delete --force` removes all of it.
@Suite(.runtimeUnderTest, .enabled(if: OCIRuntime.underTest.isLunette, "is about lunette-oci's own fault points"))
struct RuntimeCrashTests {
    private static let creation = ["folder", "recorded", "planned", "made", "cgroup", "spawned", "created", "saved"].map {
        "oci.create.\($0)"
    }

    private func command(_ bundle: OCIBundle, fault: String, _ arguments: String...) -> Command {
        bundle.runtime.command(root: bundle.root, arguments, environment: ["LUNETTE_FAULT": fault], workdir: bundle.folder)
    }

    @Test(arguments: creation)
    func aKilledCreateIsDeletable(point: String) async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try bundle.write()
            let killed = try await command(bundle, fault: point, "create", "--bundle", bundle.folder, bundle.id).run(expecting: nil)
            #expect(killed.signal == SIGKILL, "\(point): \(killed.errorText)")
            #expect(try await bundle.call("list", "-q").text == bundle.id)
            // A shim whose lunette-oci has died before it wrote down what there is ends the container.
            try await eventually("it is stopped") { try await bundle.call("list").text.contains("stopped") }
            #expect(try await bundle.create(expecting: nil).code == 1)
            try await bundle.call("delete", "--force", bundle.id)
            #expect(try await bundle.call("list", "-q").text == "")
            try await eventually("nothing is left") { bundle.leaks().isEmpty }
            // And the id is free again.
            try await bundle.create()
        }
    }

    /// `run` has the program started before it has written down what there is: until the shim is released, its end is the container's.
    @Test(arguments: ["planned", "made", "cgroup", "spawned", "created", "saved"].map { "oci.create.\($0)" })
    func aKilledRunEndsItsContainer(point: String) async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try bundle.write()
            let killed = try await command(bundle, fault: point, "run", "--bundle", bundle.folder, bundle.id).run(expecting: nil)
            #expect(killed.signal == SIGKILL, "\(point): \(killed.errorText)")
            #expect(try await bundle.call("list", "-q").text == bundle.id)
            try await eventually("it is stopped") { try await bundle.call("list").text.contains("stopped") }
            try await bundle.call("delete", bundle.id)
            try await eventually("nothing is left") { bundle.leaks().isEmpty }
        }
    }

    @Test func aCreateKilledHalfWayIsDeletedWithoutForceToo() async throws {
        try await withBundle { bundle in
            try bundle.write()
            _ = try await command(bundle, fault: "oci.create.cgroup", "create", "--bundle", bundle.folder, bundle.id).run(expecting: nil)
            try await bundle.call("delete", bundle.id)
            #expect(try await bundle.call("list", "-q").text == "")
        }
    }

    @Test func aKilledStartHasOpenedTheGateOnceAndForAll() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "print=ran", "pause"]]])
            try await bundle.create()
            let killed = try await command(bundle, fault: "oci.start.opened", "start", bundle.id).run(expecting: nil)
            #expect(killed.signal == SIGKILL)
            try await bundle.says("ran")
            #expect(try await bundle.state()["status"] == "running")
            #expect(try await bundle.start(expecting: nil).code == 1)
        }
    }

    @Test(arguments: ["oci.delete.cgroup", "oci.delete.renamed"])
    func aKilledDeleteIsFinishedByTheNext(point: String) async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try await bundle.create()
            let killed = try await command(bundle, fault: point, "delete", "--force", bundle.id).run(expecting: nil)
            #expect(killed.signal == SIGKILL)
            try await bundle.call("delete", "--force", bundle.id)
            #expect(try FileManager.default.contentsOfDirectory(atPath: bundle.root).filter { $0 != ".seccomp" } == [])
            try await eventually("nothing is left") { bundle.leaks().isEmpty }
        }
    }

    /// A `create` that a hook of the host's side holds up.
    /// - Parameter seconds: for how long; told from other tests' hooks by it.
    private func hangingCreate(_ bundle: OCIBundle, seconds: String) throws -> RunningCommand {
        bundle.change(["hooks": ["createRuntime": [["path": "/bin/sleep", "args": ["sleep", .string(seconds)]]]]])
        try bundle.write()
        bundle.cleanUp.add("end the hook") {
            _ = try await Command("/usr/bin/pkill", "-KILL", "-f", "^sleep \(seconds)$").run(expecting: nil)
        }
        return try bundle.runtime.command(root: bundle.root, ["create", "--bundle", bundle.folder, bundle.id]).start()
    }

    /// A hook that hangs for ever holds `create` up; `delete --force` from another shell ends both.
    @Test func aHangingCreateIsDeletable() async throws {
        try await withBundle { bundle in
            let creating = try hangingCreate(bundle, seconds: "471240")
            try await eventually("it is being created") {
                let listed = try await bundle.call("list").text
                return listed.contains("creating") && FileManager.default.fileExists(atPath: "\(bundle.root)/\(bundle.id)/config.json")
            }
            #expect(try await bundle.call("delete", bundle.id, expecting: nil).code == 1 || !creating.isRunning)
            try await bundle.call("delete", "--force", bundle.id)
            #expect(try await creating.wait().signal == SIGKILL)
            #expect(try await bundle.call("list", "-q").text == "")
        }
    }

    /// A `run` holds its container until the program runs, and so does a startContainer hook that hangs.
    @Test func aHangingRunIsDeletable() async throws {
        try await withBundle { bundle in
            bundle.change(["hooks": ["startContainer": [["path": "/probe", "args": ["/probe", "pause"]]]]])
            try bundle.write()
            let running = try bundle.runtime.command(root: bundle.root, ["run", "--bundle", bundle.folder, bundle.id]).start()
            try await eventually("its hook runs") { try await bundle.call("list").text.contains("running") }
            #expect(try await bundle.call("delete", bundle.id, expecting: nil).errorText.contains("not stopped: running"))
            try await bundle.call("delete", "--force", bundle.id)
            #expect(try await running.wait().code != 0)
            #expect(try await bundle.call("list", "-q").text == "")
        }
    }

    /// The shim of a killed `create` has the folder's lock, too: a stopped one stands for one that a file system holds up.
    @Test func whatAHangingShimHoldsIsDeletable() async throws {
        try await withBundle { bundle in
            let creating = try hangingCreate(bundle, seconds: "471241")
            var shims: [Int32] = []
            try await eventually("it waits for the hook") {
                let children = try String(contentsOfFile: "/proc/\(creating.pid)/task/\(creating.pid)/children", encoding: .utf8)
                    .split(separator: " ").compactMap { Int32($0) }
                func command(_ pid: Int32) -> String { (try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)) ?? "" }
                shims = children.filter { command($0) == "lunette-shim\n" }
                return shims.count == 1 && children.contains { command($0) == "sleep\n" }
            }
            kill(shims[0], SIGSTOP)
            kill(creating.pid, SIGKILL)
            _ = try await creating.wait()
            try await bundle.call("delete", bundle.id)
            #expect(try await bundle.call("list", "-q").text == "")
            try await eventually("nothing is left") { bundle.leaks().isEmpty }
        }
    }

    /// The create waits for its hook: killed by it, it could say nothing.
    @Test(arguments: ["create", "run"]) func aHookThatDeletesItsOwnContainerFails(verb: String) async throws {
        try await withBundle { bundle in
            let delete = "exec \(bundle.runtime.path) --root \(bundle.root) delete --force \(bundle.id)"
            bundle.change(["hooks": ["createRuntime": [["path": "/bin/sh", "args": ["sh", "-c", .string(delete)]]]]])
            try bundle.write()
            let refused = try await bundle.runtime.command(root: bundle.root, [verb, "--bundle", bundle.folder, bundle.id])
                .run(expecting: 1)
            #expect(refused.errorText.contains("the create of it runs this hook"), "\(refused.errorText)")
            #expect(try await bundle.call("list", "-q").text == "")
            try await eventually("nothing is left") { bundle.leaks().isEmpty }
        }
    }

    @Test func ofManyCreatesOfOneNameOneWins() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            try bundle.write()
            let running = try (0..<6).map { _ in
                try bundle.runtime.command(root: bundle.root, ["create", "--bundle", bundle.folder, bundle.id]).start()
            }
            var codes: [Int32] = []
            for command in running { codes.append(try await command.wait().code) }
            #expect(codes.sorted() == [0, 1, 1, 1, 1, 1])
            #expect(try await bundle.state()["status"] == "created")
        }
    }

    @Test func deleteBesideStartLeavesNothingHalf() async throws {
        try await withBundle { bundle in
            bundle.change(["process": ["args": ["/probe", "pause"]]])
            for _ in 0..<5 {
                try await bundle.create()
                let starting = try bundle.runtime.command(root: bundle.root, ["start", bundle.id]).start()
                let deleting = try bundle.runtime.command(root: bundle.root, ["delete", "--force", bundle.id]).start()
                #expect([0, 1].contains(try await starting.wait().code))
                #expect(try await deleting.wait().code == 0)
                #expect(try await bundle.call("list", "-q").text == "")
            }
            try await eventually("nothing is left") { bundle.leaks().isEmpty }
        }
    }
}
