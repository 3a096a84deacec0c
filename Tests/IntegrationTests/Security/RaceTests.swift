import Foundation
import LunetteSpec
import LunetteTesting
import Testing

/// A hostile container changes names under the runtime's hands, tens of thousands of times a second, while others are launched on the same
/// folders: attacks 4–6, 8, 9, 46. Each launch may fail cleanly; none may touch the host. Beside each race the same is done the naive way, and must
/// be led astray: the race can be won. `LUNETTE_RACE_ROUNDS` for more than the few of CI; races on `lunette-oci` are PathRaceTests.
@Suite(.serialized, .requires(.root, .overlay, .userNamespaces, .command("gcc")))
struct RaceTests {
    private static let launches = PathRaceTests.rounds ?? 120

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
            try await home.racing(
                "-v", "data:/shared", prepare: "mkdir -p /shared/dir/deep; ln -s \(link) /shared/link", "dir", "link",
                losing: [["mkdir", "volumes", "dir/new", "\(outside)/new"]]
            ) {
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
            try await home.racing(
                "-v", "\(root):/shared", prepare: "true", "dev", "evil", losing: [["create", root, "dev/zero", "\(outside)/made"]]
            ) {
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
        let setting = "sys/net/ipv4/ip_unprivileged_port_start"
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
            try await home.racing(
                "-v", "\(root):/shared", prepare: "true", "proc", "evil",
                losing: [["sysctl", root, "proc/\(setting)", "\(root)/evil/\(setting)"]]
            ) {
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
                let file = "\(root)/\(top)/\(setting)"
                #expect(try String(contentsOfFile: file, encoding: .utf8) == "untouched\n")
            }
        }
    }

    /// CVE-2018-15664, CVE-2019-14271, CVE-2026-42306: a folder of the path becomes a link to the host while files are copied.
    @Test func copiesStayInside() async throws {
        let canary = try Canary()
        defer { canary.remove() }
        try await withLunette { home in
            let outside = (canary.path as NSString).deletingLastPathComponent
            try "from the host\n".write(toFile: "\(home.folder)/new", atomically: true, encoding: .utf8)
            try await home.lunette("volume", "create", "data")
            try await home.racing(
                "-v", "data:/shared", prepare: "mkdir -p /shared/dir; echo inside > /shared/dir/canary; ln -s \(outside) /shared/link",
                "dir", "link",
                losing: [
                    ["create", "volumes", "dir/new", "\(outside)/new"], ["read", "volumes", "dir/canary", canary.path],
                ]
            ) {
                let script = """
                    local lunette = require 'lunette'
                    local c = lunette.container.get 'racer'
                    local copied = { into = 0, out = 0 }
                    for i = 1, \(PathRaceTests.rounds ?? 300) do
                      if lunette.try(c.copy_in, c, '\(home.folder)/new', '/shared/dir/new') then copied.into = copied.into + 1 end
                      if lunette.try(c.copy_out, c, '/shared/dir/canary', '\(home.folder)/out') then
                        copied.out = copied.out + 1
                        local text = io.open('\(home.folder)/out'):read 'a'
                        if text ~= 'inside\\n' then print('ASTRAY ' .. text) end
                      end
                    end
                    print(copied.into > 0, copied.out > 0)
                    """
                let finished = try await home.script(script, timeout: .seconds(240))
                #expect(finished.text == "true\ttrue", "\(finished.text.prefix(400))")
            }
            #expect(canary.isUntouched)
            #expect(try FileManager.default.contentsOfDirectory(atPath: outside) == ["canary"])
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
    /// - Parameter losing: what the probe `race beat` does the naive way meanwhile, and must lose: use, place (`volumes` is the volume `data`),
    ///   name, canary.
    func racing(
        _ options: String..., prepare: String, _ one: String, _ other: String, losing: [[String]], during body: () async throws -> Void
    ) async throws {
        let image = try await load(.busybox)
        let probe = try await CProbe.attack.path()
        let line = "\(prepare); exec /attack swap /shared/\(one) /shared/\(other)"
        try await command(
            ["run", "-d", "--name", "racer", "-v", "\(probe):/attack:ro"] + options + [image, "sh", "-c", line]
        ).run()
        try await eventually("the racer swaps") { try await self.lunette("logs", "racer").text.contains("swapping ok") }
        for naive in losing {
            var words = naive
            if words[1] == "volumes" {
                // One of the two is the folder at any time.
                let found = try await Command.shell("find \(root)/volumes '(' -name \(other) -o -name \(one) ')' -print -quit || true")
                    .run().text
                words[1] = (found as NSString).deletingLastPathComponent
            }
            try await PathRaceTests.lose(words)
        }
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
