import Foundation
import LunetteTesting
import Testing

/// A hostile container changes names under the runtime's hands, tens of thousands of times a second, while others are launched on the same
/// folders: attacks 4–6, 8, 9. Each launch may fail cleanly; none may touch the host.
@Suite(.serialized, .requires(.root, .overlay, .userNamespaces, .command("gcc")))
struct RaceTests {
    private static let launches = 120

    /// CVE-2021-30465, CVE-2024-45310: the parents of mount targets on a shared volume become links to the host.
    @Test(arguments: ["absolute", "relative"])
    func mountTargetsOnASharedVolumeStayInside(_ kind: String) async throws {
        let canary = try Canary()
        defer { canary.remove() }
        try await withLunette { home in
            let outside = (canary.path as NSString).deletingLastPathComponent
            let link = kind == "absolute" ? outside : "../../../../../../../../../..\(outside)"
            let source = "\(home.folder)/source"
            try await Command.shell("mkdir -p \(source)/deep && echo bound > \(source)/file").run()
            try await home.lunette("volume", "create", "data")
            try await home.racing("-v", "data:/shared", prepare: "mkdir -p /shared/dir/deep; ln -s \(link) /shared/link", "dir", "link") {
                let outcome = try await home.launchMany(
                    Self.launches, "sh", "-c",
                    "cat /vol/dir/canary /vol/dir/file /vol/link/canary 2>&1; cat /vol/dir/bound/file; touch /vol/dir/new /vol/dir/bound/new",
                    spec: """
                        image = '\(try await home.load(.busybox))',
                        mounts = {
                          { type = 'volume', source = 'data', target = '/vol' },
                          { type = 'bind', source = '\(source)', target = '/vol/dir/bound', readonly = true },
                          { type = 'bind', source = '\(source)/file', target = '/vol/dir/deep/er/file' },
                          { type = 'tmpfs', target = '/vol/dir/tmp' },
                        },
                        """)
                #expect(outcome.started > 0, "\(outcome.errors)")
                #expect(!canary.isLeaked(in: Data(outcome.output.utf8)))
            }
            #expect(canary.isUntouched)
            #expect(try FileManager.default.contentsOfDirectory(atPath: outside) == ["canary"])
            #expect(try FileManager.default.contentsOfDirectory(atPath: source).sorted() == ["deep", "file"])
        }
    }

    /// CVE-2025-31133, CVE-2025-52565: the folder of the runtime's own devices and console, and the terminal that it makes there.
    @Test func devicesAndConsoleAreTheRuntimesOwn() async throws {
        let canary = try Canary()
        defer { canary.remove() }
        let before = try String(contentsOfFile: "/proc/sys/kernel/core_pattern", encoding: .utf8)
        try await withLunette { home in
            let outside = (canary.path as NSString).deletingLastPathComponent
            let root = try await home.makeRoot("root")
            try await Command.shell(
                """
                mkdir -p \(root)/dev/pts \(root)/evil/pts \(root)/proc \(root)/sys
                for name in null console ptmx pts/ptmx pts/0; do ln -s /proc/sysrq-trigger \(root)/evil/$name; done
                ln -sf /proc/sys/kernel/core_pattern \(root)/evil/null; ln -s \(outside)/made \(root)/evil/zero
                """
            ).run()
            try await home.racing("-v", "\(root):/shared", prepare: "true", "dev", "evil") {
                let outcome = try await home.launchMany(
                    Self.launches, "sh", "-c", "echo x > /dev/console; echo x > /dev/null; echo x > /dev/zero; echo said",
                    spec: "rootfs = '\(root)', tty = true,")
                #expect(outcome.started > 0, "\(outcome.errors)")
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: outside) == ["canary"])
        }
        #expect(canary.isUntouched)
        #expect(try String(contentsOfFile: "/proc/sys/kernel/core_pattern", encoding: .utf8) == before)
    }

    /// CVE-2025-52881, CVE-2019-19921: a folder of the image's in place of /proc while the runtime writes sysctls and covers what is masked.
    @Test(arguments: [true, false])
    func masksAndSettingsGoWhereTheyBelong(_ hasUserNamespace: Bool) async throws {
        try await withLunette { home in
            let root = try await home.makeRoot("root")
            // All that the runtime looks for is there, so that a step on the wrong folder works.
            try await Command.shell(
                """
                for top in proc evil; do
                  mkdir -p \(root)/$top/sys/net/ipv4 \(root)/$top/bus \(root)/$top/irq
                  echo untouched > \(root)/$top/sys/net/ipv4/ip_unprivileged_port_start
                  touch \(root)/$top/interrupts \(root)/$top/keys \(root)/$top/timer_list \(root)/$top/sysrq-trigger
                done
                mkdir \(root)/sys \(root)/dev; ln -s busybox \(root)/bin/grep; ln -s busybox \(root)/bin/test
                """
            ).run()
            try await home.racing("-v", "\(root):/shared", prepare: "true", "proc", "evil") {
                // Wherever the kernel's proc ended up: what is masked is empty there, and what is read-only can't be opened for writing.
                let line = """
                    for top in /proc /evil /proc /evil /proc /evil; do
                      # From within, because the names go on changing.
                      cd $top && test -e 1/status || continue
                      echo looked
                      for name in interrupts keys timer_list; do grep -q . $name 2>/dev/null && echo UNMASKED $name; done
                      for name in sys/net/ipv4/ip_unprivileged_port_start sysrq-trigger; do (: >> $name) 2>/dev/null && echo WRITABLE $name; done
                      cat sys/net/ipv4/ip_unprivileged_port_start
                      break
                    done
                    """
                let outcome = try await home.launchMany(
                    Self.launches, "sh", "-c", line,
                    spec: "rootfs = '\(root)', sysctls = { ['net.ipv4.ip_unprivileged_port_start'] = '77' }, "
                        + "security = { user_namespace = \(hasUserNamespace) },")
                #expect(outcome.started > 0, "\(outcome.errors)")
                #expect(outcome.output.contains("looked"))
                #expect(outcome.output.contains("77"))
                #expect(!outcome.output.contains("UNMASKED") && !outcome.output.contains("WRITABLE"), "\(outcome.summary)")
            }
            for top in ["proc", "evil"] {
                let file = "\(root)/\(top)/sys/net/ipv4/ip_unprivileged_port_start"
                #expect(try String(contentsOfFile: file, encoding: .utf8) == "untouched\n")
            }
        }
    }
}

/// What became of many launches.
struct Launches {
    var started = 0
    /// What the programs wrote.
    var output = ""
    /// The messages of those that failed.
    var errors: [String] = []

    /// Each line once, with how often it came.
    var summary: [String: Int] { output.split(separator: "\n").reduce(into: [:]) { $0[String($1), default: 0] += 1 } }
}

extension LunetteHome {
    /// Runs a container that exchanges two names below its /shared while `body` runs, and makes sure that it did.
    func racing(
        _ options: String..., prepare: String, _ one: String, _ other: String, during body: () async throws -> Void
    ) async throws {
        let image = try await load(.busybox)
        let probe = try await CProbe.attack.path()
        let line = "\(prepare); exec /attack swap /shared/\(one) /shared/\(other)"
        try await command(
            ["run", "-d", "--name", "racer", "-v", "\(probe):/attack:ro"] + options + [image, "sh", "-c", line]
        ).run()
        try await eventually("the racer swaps") { try await self.lunette("logs", "racer").text.contains("swapping ok") }
        try await body()
        // The racer may end, and take this with it, before touch itself has.
        try await lunette("exec", "racer", "touch", "/tmp/stop", expecting: nil)
        try await lunette("wait", "racer")
        let swaps = Self.answers(try await lunette("logs", "racer").lines)["swapped"].flatMap { Int($0) } ?? 0
        #expect(swaps > 10_000, "the racer swapped \(swaps) times")
        try await lunette("rm", "-f", "racer")
    }

    /// Launches containers of one spec, four at a time, from one script; each is waited for, read and removed.
    func launchMany(_ count: Int, _ arguments: String..., spec: String) async throws -> Launches {
        let words = arguments.map { "[==[\($0)]==]" }.joined(separator: ", ")
        let code = """
            local lunette = require 'lunette'
            local function one()
              local c = lunette.container.create { args = { \(words) }, \(spec) }
              local ok, problem = lunette.try(function()
                c:start()
                c:wait { timeout = '30s' }
                return c:logs {}
              end)
              c:remove { force = true }
              if not ok then error(problem, 0) end
              return problem
            end
            local made = 0
            local function worker()
              while made < \(count) do
                made = made + 1
                local ok, result = lunette.try(one)
                if ok then print('STARTED') io.write(result, '\\n') else print('FAILED ' .. result.code .. ' ' .. result.message) end
              end
            end
            local workers = {}
            for i = 1, 4 do workers[i] = task.spawn(worker) end
            for i = 1, 4 do task.await(workers[i]) end
            """
        var result = Launches()
        for line in try await script("local task = require('lunette').task\n" + code, timeout: .seconds(240)).lines {
            if line == "STARTED" {
                result.started += 1
            } else if line.hasPrefix("FAILED ") {
                result.errors.append(line)
                #expect(!line.hasPrefix("FAILED internal"), "\(line)")
            } else {
                result.output += line + "\n"
            }
        }
        #expect(result.started + result.errors.count == count)
        #expect(!leaks().contains { $0.hasPrefix("mount") }, "a mount shows on the host")
        return result
    }
}
