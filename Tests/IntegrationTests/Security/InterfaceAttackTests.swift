import Foundation
import LunetteTesting
import Testing

/// Attacks by what is asked for and what an image says: 12, 15, 17, 33, 48, 78, 79.
@Suite(.requires(.root, .overlay, .userNamespaces))
struct InterfaceAttackTests {
    /// CVE-2026-30892, CVE-2024-40635, at the other two doors: `run --user` and an image's `USER`.
    @Test func surprisingUsersAreRefusedEverywhere() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            undefended(
                "read by strtoul, these are root", ["00", ":0", "4294967296", "0x0", "root:00"].allSatisfy { NaiveRuntime.id($0) == 0 })
            for user in ["00", "1000:", ":0", "-1", "4294967295", "4294967296", "1000:4294967295", "1000:-1", "70000", "0x0", "root:00"] {
                let finished = try await home.lunette("run", "--rm", "--user=\(user)", image, "id", "-u", expecting: nil)
                #expect(finished.code != 0 && finished.text.isEmpty, "--user=\(user) ran as \(finished.text)")
                let build = """
                    local lunette = require 'lunette'
                    local ok, problem = lunette.try(lunette.image.build, { tag = 'user:1', from = '\(image)', config = { user = '\(user)' } })
                    if not ok then os.exit(9) end
                    """
                guard try await home.script(build, expecting: nil).code == 0 else { continue }
                let built = try await home.lunette("run", "--rm", "user:1", "id", "-u", expecting: nil)
                #expect(built.code != 0 && built.text.isEmpty, "USER \(user) ran as \(built.text)")
            }
            #expect(try await home.lunette("run", "--rm", "--user", "1000:0", image, "sh", "-c", "id -u; id -g").lines == ["1000", "0"])
            // What --rm takes away goes when the program has ended, which may be a moment after its caller has left.
            try await eventually("the refused ones left nothing") { try await home.lunette("ps", "-aq").lines.isEmpty }
        }
    }

    /// CVE-2021-43784: numbers and lengths beyond all measure, through the socket to the launch plan.
    @Test(arguments: [
        ("mounts", "for i = 1, 100000 do mounts[i] = { type = 'tmpfs', target = '/m' .. i } end"),
        ("env", "for i = 1, 100000 do env['V' .. i] = ('x'):rep(30) end"), ("a long variable", "env.V = ('x'):rep(32 << 20)"),
        ("arguments", "for i = 1, 200000 do args[i] = 'x' end"), ("a long argument", "args[2] = ('x'):rep(8 << 20)"),
        ("a long target", "mounts[1] = { type = 'tmpfs', target = ('/x'):rep(100000) }"),
        ("labels", "for i = 1, 50000 do labels['l' .. i] = ('x'):rep(100) end"),
    ])
    func enormousSpecsAreRefusedCleanly(_ what: String, _ fill: String) async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let script = """
                local lunette = require 'lunette'
                local mounts, env, args, labels = {}, {}, { 'true' }, {}
                \(fill)
                local ok, problem = lunette.try(function()
                  local c = lunette.container.create { name = 'big', image = '\(image)', mounts = mounts, env = env, args = args, labels = labels }
                  c:start()
                  c:wait()
                end)
                if lunette.container.find('big') then lunette.container.get('big'):remove { force = true } end
                if ok then print('ran') else print(problem.code, #problem.message < 1000) end
                """
            let finished = try await home.script(script, expecting: nil, timeout: .seconds(120))
            #expect(finished.code == 0, "\(what): \(finished.errorText.prefix(400))")
            #expect(finished.text == "ran" || finished.text.hasSuffix("\ttrue"), "\(what): \(finished.text.prefix(400))")
            #expect(!finished.text.hasPrefix("internal"), "\(what): \(finished.text)")
            #expect(try await home.lunette("run", "--rm", image, "echo", "on we go").text == "on we go")
        }
    }

    /// Nothing that a container or image says decides which program the host runs, or how.
    @Test func aContainersEnvironmentReachesNoProgramOfTheHost() async throws {
        try await withLunette { home in
            let (evil, ran) = ("\(home.folder)/evil", "\(home.folder)/ran")
            try await Command.shell(
                """
                mkdir \(evil); printf '#!/bin/sh\\ntouch \(ran)\\n' > \(evil)/sh; chmod 755 \(evil)/sh
                for name in bash lunette lunette-shim mount umount ip nft iptables newuidmap newgidmap tar gzip zstd cp rm ls ps kill env id true cat; do
                  cp \(evil)/sh \(evil)/$name
                done
                """
            ).run()
            // Looked for along that path, it runs.
            try await Command.shell("PATH=\(evil):$PATH; ls").run()
            undefended("a program that is looked for along that path runs", FileManager.default.fileExists(atPath: ran))
            try FileManager.default.removeItem(atPath: ran)
            let image = try await home.load(.busybox)
            let variables = [
                "PATH": "\(evil):/bin", "LD_PRELOAD": "\(evil)/x.so", "LD_LIBRARY_PATH": evil, "LUNETTE_SHIM": "\(evil)/lunette-shim",
                "LUNETTE_ROOT": "\(evil)", "BASH_ENV": "\(evil)/sh", "ENV": "\(evil)/sh", "LUA_PATH": "\(evil)/?.lua", "TMPDIR": evil,
            ]
            let table = variables.map { "\($0) = '\($1)'" }.joined(separator: ", ")
            let script = """
                local lunette = require 'lunette'
                lunette.image.build { tag = 'env:1', from = '\(image)', config = { env = { \(table) } }, run = { 'echo built > /built' } }
                local c = lunette.container.run { name = 'c', image = 'env:1', env = { \(table) }, args = { 'sleep', '100' }, user = 'app' }
                print(c:exec({ 'cat', '/built' }, { env = { \(table) } }).stdout)
                c:copy_in('\(evil)/sh', '/tmp/copied')
                c:copy_out('/built', '\(home.folder)/out')
                c:processes() c:stats() c:logs {}
                c:pause() c:resume() c:restart { grace_period = '50ms' }
                """
            #expect(try await home.script(script).text.hasPrefix("built"))
            let pid = try await home.inspect("c")["pid"] as? Int ?? 0
            let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
            let parent = try #require(
                status.split(separator: "\n").first { $0.hasPrefix("PPid:") }.flatMap { Int($0.split(separator: "\t")[1]) })
            #expect(FileManager.default.contents(atPath: "/proc/\(parent)/environ")?.isEmpty == true, "the shim has an environment")
            #expect(!FileManager.default.fileExists(atPath: ran), "a program that the container named ran on the host")
        }
    }

    /// CVE-2022-23648, CVE-2020-1726: a volume's place is a link to the host, and the volume gets what the image has there.
    @Test func anImagesVolumeThatIsALinkCopiesNothingOfTheHost() async throws {
        let canary = try Canary()
        defer { canary.remove() }
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let outside = (canary.path as NSString).deletingLastPathComponent
            for link in [outside, "../../../../../../../..\(outside)", "/proc/1/root\(outside)", "/proc/self/cwd"] {
                let build = """
                    require('lunette').image.build { tag = 'link:1', from = '\(image)', run = { "ln -s '\(link)' /data" }, config = { volumes = { '/data' } } }
                    """
                _ = try await home.script(build)
                // The machine's pid 1 lets itself be looked into or doesn't; /proc/self/cwd is each one's own.
                if !link.hasPrefix("/proc") {
                    let (layer, copied) = ("\(home.folder)/layer", "\(home.folder)/copied-\(UUID().uuidString)")
                    try await Command.shell("mkdir -p \(layer) && ln -sfn '\(link)' \(layer)/data && cp -a \(layer)/data/. \(copied)").run()
                    let got = FileManager.default.contents(atPath: "\(copied)/canary") ?? Data()
                    undefended("a copy by name takes the host's files", canary.isLeaked(in: got), link)
                }
                for options in [[], ["-v", "named:/data"], ["-v", "named:/data/deeper"]] {
                    let line = "cat /data/canary \(canary.path); echo written > /data/canary; echo written > /data/new"
                    let finished = try await home.command(["run", "--rm"] + options + ["link:1", "sh", "-c", line]).run(expecting: nil)
                    #expect(!canary.isLeaked(in: finished.stdout), "\(link) \(options)")
                }
                #expect(canary.isUntouched, "\(link)")
                #expect(try FileManager.default.contentsOfDirectory(atPath: outside) == ["canary"], "\(link)")
                #expect(try await Command.shell("grep -rl '\(canary.secret)' \(home.root) || true").run().text == "", "\(link)")
                try await home.lunette("volume", "rm", "named", expecting: nil)
            }
        }
    }

    /// A handle outlives what it names; it must say so, and never mean a thing of the same name that came later.
    @Test func aHandleOfTheRemovedMeansNothingElse() async throws {
        try await withLunette { home in
            let image = try await home.load(.busybox)
            let script = """
                local lunette = require 'lunette'
                local spec = { name = 'c', image = '\(image)', args = { 'sh', '-c', 'echo line; exec sleep 100' } }
                local old = lunette.container.run(spec)
                old:remove { force = true }
                old.remove(lunette.container.run { name = 'x', image = '\(image)', args = { 'true' } }, { force = true })
                local new = lunette.container.run(spec)
                print('ready') io.stdout:flush()
                io.read()
                local calls = {
                  start = {}, stop = {}, kill = { 'SIGKILL' }, pause = {}, resume = {}, restart = {}, inspect = {}, logs = { {} },
                  exec = { { 'true' } }, processes = {}, stats = {}, rename = { 'other' }, copy_out = { '/etc/passwd', '\(home.folder)/out' },
                }
                for name, arguments in pairs(calls) do
                  local ok, problem = lunette.try(old[name], old, table.unpack(arguments))
                  if ok or not problem:is 'not_found' then print('WRONG', name, ok, problem) end
                end
                print(old ~= new, new:inspect().status)
                -- Closed twice, by a break and by itself; read after the end; a forged handle.
                for _ = 1, 2 do for line in new:follow_logs {} do break end end
                local step, _, _, stream = new:follow_logs {}
                stream:close() stream:close()
                print(step())
                for _, forged in ipairs { {}, { id = new.id }, setmetatable({}, getmetatable(new)), setmetatable({ id = '../x' }, getmetatable(new)), 7 } do
                  local ok = pcall(new.kill, forged, 'SIGKILL')
                  if ok and new:inspect().status ~= 'running' then print('FORGED') end
                end
                print(new:inspect().status)
                """
            // The second time the engine dies between the removal and the use.
            for kills in [false, true] {
                let fifo = "\(home.folder)/go-\(kills)"
                try await Command("mkfifo", fifo).run()
                let path = "\(home.folder)/handles.lua"
                try script.write(toFile: path, atomically: true, encoding: .utf8)
                let running = try Command(["sh", "-c", "exec \(LunetteHome.binary) \(path) < \(fifo)"], environment: home.environment)
                    .start()
                let go = Task.detached { FileHandle(forWritingAtPath: fifo) }
                try await running.says("ready")
                if kills { try await home.stopEngine(with: SIGKILL) }
                try await go.value?.write(contentsOf: Data("go\n".utf8))
                let finished = try await running.wait()
                #expect(finished.code == 0, "\(finished.errorText)")
                #expect(finished.lines == ["ready", "true\trunning", "nil", "running"], "\(finished.text)")
                try await home.lunette("rm", "-f", "c")
            }
        }
    }

    /// A file in the folder that somebody happens to be in is no module.
    @Test func requireNeverLooksInTheWorkingFolder() async throws {
        try await withLunette { home in
            let (here, scripts) = ("\(home.folder)/here", "\(home.folder)/scripts")
            try await Command.shell(
                """
                mkdir \(here) \(scripts)
                for name in evil lunette; do echo "print 'EVIL'" > \(here)/$name.lua; cp \(here)/$name.lua \(here)/init.lua; done
                cp \(here)/evil.lua \(here)/evil.so; echo "return 'good'" > \(scripts)/good.lua
                cat > \(scripts)/main.lua <<'END'
                print(require 'good', type(require 'lunette'.container.run))
                for _, name in ipairs { 'evil', './evil', '../here/evil', 'here.evil' } do print((pcall(require, name))) end
                END
                """
            ).run()
            var environment = home.environment
            for (name, value) in [("LUA_PATH", "./?.lua;?.lua;;"), ("LUA_CPATH", "./?.so;?.so;;"), ("LUA_INIT", "print 'EVIL'")] {
                environment[name] = value
                environment[name + "_5_4"] = value
            }
            let run = try await Command([LunetteHome.binary, "\(scripts)/main.lua"], environment: environment, workdir: here).run()
            #expect(run.lines == ["good\tfunction"] + Array(repeating: "false", count: 4), "\(run.text)")
            let line = "return (pcall(require, 'evil')), type(require 'lunette')"
            let expression = try await Command([LunetteHome.binary, "-e", line], environment: environment, workdir: here).run()
            #expect(expression.text == "false\ttable", "\(expression.text)")
        }
    }
}
