import Foundation
import Glibc
import LunetteTesting
import Testing

/// The units that ship, under a systemd that runs the machine: what it does to the service it does to no container.
@Suite(.requires(.root, .file("/run/systemd/private"), .cgroupV2))
struct SystemdServiceTests {
    @Test func noRestartKillOrStopOfTheUnitTouchesAContainer() async throws {
        try await withLunette(.root) { home in
            let name = "lunette-test-\(getpid())"
            for kind in ["socket", "service"] {
                // The guest of scripts/dev/test-in-vm has no other unit.
                let text = try String(contentsOfFile: "\(LunetteHome.package)/scripts/systemd/lunette.\(kind)", encoding: .utf8)
                    .replacing("[Unit]", with: "[Unit]\nDefaultDependencies=no").replacing("lunette.socket", with: "\(name).socket")
                    .replacing("/usr/bin/lunette", with: "\(LunetteHome.binary) --root \(home.root) --state \(home.state)")
                    .replacing("/run/lunette/engine.sock", with: "\(home.state)/engine.sock")
                try Data(text.utf8).write(to: URL(fileURLWithPath: "/run/systemd/system/\(name).\(kind)"))
            }
            home.cleanUp.add("remove the units") {
                _ = try await Command("systemctl", "stop", "\(name).socket", "\(name).service").run(expecting: nil)
                for kind in ["socket", "service"] { unlink("/run/systemd/system/\(name).\(kind)") }
                _ = try await Command("systemctl", "daemon-reload").run(expecting: nil)
            }
            func property(_ word: String) async throws -> String {
                try await Command("systemctl", "show", "--value", "-p", word, "\(name).service").run().text
            }
            try await Command("systemctl", "daemon-reload").run()
            try await Command("systemctl", "start", "\(name).socket").run()
            #expect(try await property("ActiveState") == "inactive")

            let rootfs = "\(home.folder)/rootfs"
            try FileManager.default.createDirectory(atPath: "\(rootfs)/bin", withIntermediateDirectories: true)
            try FileManager.default.copyItem(atPath: "/bin/busybox", toPath: "\(rootfs)/bin/busybox")
            try await home.lunette(
                "-e",
                """
                container.run { name = "stays", rootfs = "\(rootfs)", args = { "/bin/busybox", "sleep", "600" },
                  security = { user_namespace = false } }
                """)
            #expect(try await property("ActiveState") == "active")
            func engine() async throws -> String { try await home.lunette("system", "info", "--format", "{{.pid}}").text }
            let first = try await engine()
            #expect(try await property("MainPID") == first)
            let pid = try await home.lunette("inspect", "--format", "{{.pid}}", "stays").text
            let shim = try await Command.shell("ps -o ppid= -p \(pid)").run().text.trimmingCharacters(in: .whitespaces)
            func place(_ pid: String) -> String { (try? String(contentsOfFile: "/proc/\(pid)/cgroup", encoding: .utf8)) ?? "" }
            try await eventually("the monitor has left the service") { place(shim) == "0::/lunette-shims\n" }
            #expect(place(first).contains("\(name).service"))

            try await Command("systemctl", "restart", "\(name).service").run()
            let second = try await engine()
            #expect(second != first && place(pid).contains("/lunette/"))
            kill(try #require(pid_t(second)), SIGKILL)
            try await eventually("systemd starts the next one") {
                let now = try await property("MainPID")
                return now != "0" && now != second
            }
            #expect(try await home.lunette("ps", "--format", "{{.Names}} {{.status}}").text == "stays running")
            try await Command("systemctl", "reload", "\(name).service").run()
            try await Command("systemctl", "stop", "\(name).socket", "\(name).service").run()
            #expect(try await property("ActiveState") == "inactive" && !place(pid).isEmpty && !place(shim).isEmpty)
            #expect(access("/sys/fs/cgroup/system.slice/\(name).service", F_OK) != 0)
            // An engine on demand takes over what the service has left.
            #expect(try await home.lunette("ps", "--format", "{{.Names}} {{.status}}").text == "stays running")
            try await home.lunette("rm", "-f", "stays")
        }
    }
}
