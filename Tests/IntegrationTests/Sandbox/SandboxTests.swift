import Foundation
import LunetteTesting
import Testing

/// `lunette sandbox` and `sandbox.run` as people use them.
@Suite(.requires(.root, .userNamespaces, .seccomp, .command("setpriv"), .command("cc")))
struct SandboxTests {
    @Test(.requires(.command("make")), arguments: SandboxCaller.allCases)
    func makeBuildsATreeAndOnlyTheTreeIsWritten(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            try Data("hello: hello.c\n\tcc -o hello hello.c\n".utf8).write(to: URL(fileURLWithPath: "\(place.tree)/Makefile"))
            try Data("int main(void) { return 42; }\n".utf8).write(to: URL(fileURLWithPath: "\(place.tree)/hello.c"))
            try await place.sandbox("--", "make", expecting: 0)
            #expect(try await place.command(["\(place.tree)/hello"]).run(expecting: nil).code == 42)
            let status = try FileManager.default.attributesOfItem(atPath: "\(place.tree)/hello")
            #expect(status[.ownerAccountID] as? UInt32 == caller.uid)
            let line = "touch \(place.home)/made \(place.outside)/made /usr/made /etc/made /made; echo done"
            #expect(try await place.sandbox("--", "sh", "-c", line).text == "done")
            for path in ["\(place.home)/made", "\(place.outside)/made", "/usr/made", "/etc/made", "/made"] {
                #expect(!FileManager.default.fileExists(atPath: path), "\(path)")
            }
        }
    }

    /// docs/sandbox.md's first example: a library, generated code, a program, its check and its installation, two jobs at a time.
    @Test(.requires(.command("make"), .command("gcc"), .command("ar")), arguments: SandboxCaller.allCases)
    func aProjectInCIsBuiltCheckedAndInstalledWithinItsTree(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            try await Command("cp", "-r", "\(LunetteHome.package)/Tests/Data/project/.", place.tree).run()
            try await Command("chown", "-R", "\(caller.uid):\(caller.uid)", place.tree).run()
            try await place.sandbox("--", "make", "-j2", "all", "check", "install", "DESTDIR=\(place.tree)/out", expecting: 0)
            let installed = "\(place.tree)/out/usr/local/bin/calculator"
            #expect(try await place.command([installed], input: "6 7 *\n").run().text == "42")
            let owner = try FileManager.default.attributesOfItem(atPath: installed)[.ownerAccountID] as? UInt32
            #expect(owner == caller.uid)
            // Nothing is left to do: times of files mean the same inside.
            #expect(try await place.sandbox("--", "make", expecting: 0).text.contains("Nothing to be done"))
            #expect(try await place.sandbox("--read-only", "--", "make", "clean").code == 2)
            // What only looks like a build.
            try Data("mine\n".utf8).write(to: URL(fileURLWithPath: "\(place.home)/.bashrc"))
            try await place.sandbox("--", "make", "SHELL=/bin/bash", "steal", "VICTIM=\(place.outside)", expecting: 0)
            #expect(place.contents("\(place.tree)/build/stolen") == "")
            #expect(place.contents("\(place.home)/.bashrc") == "mine\n")
            #expect(place.contents("\(place.outside)/file") == place.secret)
        }
    }

    @Test(arguments: SandboxCaller.allCases)
    func theExitCodeIsTheProgramsAndOursAreTold(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            #expect(try await place.sandbox("--", "sh", "-c", "exit 7").code == 7)
            #expect(try await place.sandbox("--", "sh", "-c", "kill -TERM $$").code == 143)
            #expect(try await place.sandbox("--", "no-such-program").code == 127)
            #expect(try await place.sandbox("--", "/etc/passwd").code == 126)
            let timedOut = try await place.sandbox("--timeout", "200ms", "--", "sleep", "600")
            #expect(timedOut.code == 124)
            #expect(timedOut.errorText.contains("was killed after 0.2 s: its time ran out (--timeout)"))
            let typo = try await place.sandbox("--alow-read", "x", "--", "true")
            #expect(typo.code == 125)
            #expect(typo.errorText.contains("did you mean \"--allow-read\"?"))
            let absent = try await place.sandbox("--allow-read", "/no/such", "--", "true")
            #expect(absent.code == 125)
            #expect(absent.errorText == "lunette: --allow-read: /no/such: there is nothing of this name")
        }
    }

    /// In the command line's words, and with the rule that helps.
    @Test func errorsNameTheFlagAndWhatIsMissing() async throws {
        try await withSandboxPlace(.user) { place in
            let tools = "\(place.home)/tools"
            try await place.command([
                "sh", "-c",
                "mkdir \(tools); printf '#!/bin/sh\\necho ran\\n' > \(tools)/tool; chmod +x \(tools)/tool; echo x > plain; echo '#!\(tools)/sh' > odd; chmod +x odd; echo '#!\(tools)/tool' > script; chmod +x script",
            ])
            .run()
            try Data("return { allow_read = { '/usr', '/no/such' } }".utf8).write(to: URL(fileURLWithPath: "\(place.tree)/p.lua"))
            try Data("return { allow_writ = { '.' }, memry = '1g' }".utf8).write(to: URL(fileURLWithPath: "\(place.tree)/q.lua"))
            func complaint(_ words: String...) async throws -> String {
                try await place.command(["\(place.folder)/bin/lunette", "sandbox"] + words).run(expecting: nil).errorText
            }
            for (said, expected) in [
                (try await complaint(), "lunette: there is no command to run in a sandbox\nhint: lunette sandbox [OPTIONS] -- COMMAND"),
                (try await complaint("--memory", "x", "--", "true"), "lunette: --memory: "),
                (try await complaint("p.lua", "--", "true"), "lunette: p.lua: allow_read[2]: /no/such: "),
                (
                    try await complaint("--seccomp", "/nope", "--", "true"),
                    "lunette: --seccomp: read the profile /nope: no such file or directory"
                ),
                (
                    try await complaint("--seccomp", "/etc/passwd", "--", "true"), "lunette: --seccomp: read JSON from /etc/passwd, line 1"
                ),
                (
                    try await complaint("--workdir", place.outside, "--", "true"),
                    "lunette: --workdir: start in \(place.outside): no rule names it\nhint: --allow-write . --allow-read \(place.outside)"
                ),
                (try await complaint("--", "./plain"), "(chmod +x)"),
                (try await complaint("--", "./odd"), "\nhint: the file names \(tools)/sh to run it, and nothing of this name is there"),
                (
                    try await complaint("--", "\(place.tree)/script"),
                    "\nhint: the sandbox doesn't see what runs it, \(tools)/tool: --allow-write . --allow-read \(tools)/tool"
                ),
                (
                    try await complaint("q.lua", "--", "true"),
                    "lunette: q.lua: allow_writ: unknown option\nhint: did you mean \"allow_write\"? unknown as well: memry"
                ),
                (
                    try await complaint("--", "\(tools)/tool"),
                    "\nhint: the sandbox doesn't see it: --allow-write . --allow-read \(tools)"
                ),
                (try await complaint("--", "no-such-program"), "\nhint: check its name: it isn't in PATH outside either"),
            ] { #expect(said.contains(expected), "\(said)") }
            // What the hint says runs it.
            #expect(try await place.sandbox("--allow-write", ".", "--allow-read", tools, "--", "\(tools)/tool").text == "ran")
            for program in ["true", "/usr/bin/true"] {
                let said = try await complaint("--no-system", "--", program)
                let hint = try #require(said.split(separator: "it: ").last).split(separator: " ").map(String.init)
                try await place.command(
                    ["\(place.folder)/bin/lunette", "sandbox", "--no-system"] + hint + (program == "true" ? [] : ["--", program])
                ).run()
            }
            let loader = try await complaint("--no-system", "--allow-read", "/usr/bin", "--", "/usr/bin/true")
            #expect(loader.contains("doesn't see what runs it, /lib") && loader.contains("/ld-linux"), "\(loader)")
        }
    }

    /// Root of a user namespace alone has every capability and none of them over the mounts, which are the host's.
    @Test(arguments: SandboxCaller.allCases)
    func rootOfAUserNamespaceIsAnOrdinaryUser(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            // With mounts of its own it is root of those, but nobody drops groups where the kernel has denied it.
            for namespaces in [["--user"], ["--user", "--mount"], ["--user", "--mount", "--pid", "--fork", "--net", "--mount-proc"]] {
                let line = "id -u; echo \(namespaces.count) > made; cat \(place.home)/.ssh/id_rsa"
                let words = ["--map-root-user", "\(place.folder)/bin/lunette", "sandbox", "--", "sh", "-c", line]
                let done = try await place.command(["unshare"] + namespaces + words).run(expecting: nil)
                #expect(done.text == "0" && place.contents("\(place.tree)/made") == "\(namespaces.count)\n", "\(done.errorText)")
                #expect(done.code == 1 && done.errorText.contains("No such file"))
            }
        }
    }

    @Test func aSandboxWithinASandboxSaysWhyThereIsNone() async throws {
        try await withSandboxPlace(.user) { place in
            // The static one: a build's libraries aren't seen inside.
            let built = (LunetteHome.binary as NSString).deletingLastPathComponent
            let inner = "\(place.folder)/bin/lunette-front"
            try await Programs.copy("\(built)/lunette-front", to: inner)
            let refused = try await place.sandbox(
                "--allow-read", "\(place.folder)/bin", "--", inner, "sandbox", "--allow-read", "/usr", "--", "true")
            #expect(refused.code == 125)
            #expect(refused.errorText.contains("clone3"), "\(refused.errorText)")
            #expect(refused.errorText.contains("hint: a sandbox or a container around this one"), "\(refused.errorText)")
        }
    }

    @Test(arguments: SandboxCaller.allCases)
    func streamsAreTheCallers(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let line =
                "echo given | \(place.folder)/bin/lunette sandbox -- sh -c 'cat; echo told >&2; echo again > /dev/stdout' 2> err | cat; cat err"
            let finished = try await place.plain(line)
            #expect(finished.lines == ["given", "again", "told"])
        }
    }

    @Test(arguments: SandboxCaller.allCases)
    func rulesSayWhatIsSeenAndTheNarrowerOneWins(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            try await place.command(["sh", "-c", "mkdir -p sub deep/er; echo key > sub/key; echo one > file; echo two > deep/er/two"]).run()
            let line = """
                cat sub/key; echo changed > file; echo changed > deep/er/two; echo new > deep/new; cat deep/er/two; cat deep/new
                """
            let finished = try await place.sandbox(
                "--allow-read", ".", "--hide", "sub", "--private", "deep", "--", "sh", "-c", line)
            #expect(finished.lines == ["changed", "new"])
            #expect(place.contents("\(place.tree)/file") == "one\n")
            #expect(place.contents("\(place.tree)/deep/er/two") == "two\n", "a private layer changed what lies below it")
            #expect(place.contents("\(place.tree)/deep/new") == nil)
            #expect(place.contents("\(place.tree)/sub/key") == "key\n")
            // A read-only rule inside a writable one, as for a repository's own folder.
            try await place.sandbox("--allow-write", ".", "--allow-read", "sub", "--", "sh", "-c", "echo x > sub/key; echo x > file")
            #expect(place.contents("\(place.tree)/sub/key") == "key\n")
            #expect(place.contents("\(place.tree)/file") == "x\n")
        }
    }

    @Test(arguments: SandboxCaller.allCases)
    func variablesAreACleanSet(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            var command = place.command(["\(place.folder)/bin/lunette", "sandbox", "--env", "A=1", "--env", "KEEP", "--", "env"])
            command.environment["SECRET_TOKEN"] = "hidden"
            command.environment["KEEP"] = "kept"
            let names = Set(try await command.run().lines.compactMap { $0.split(separator: "=").first.map(String.init) })
            #expect(names.isSuperset(of: ["A", "KEEP", "HOME", "PATH", "TMPDIR", "USER"]))
            #expect(!names.contains("SECRET_TOKEN"))
            // Home is a folder that is there and empty, wherever it lies outside.
            command.arguments = command.arguments.dropLast() + ["sh", "-c", "echo x > ~/file && ls -A ~; echo $USER"]
            command.environment["HOME"] = "/tmp/no.such/home"
            command.environment["USER"] = "daemon"
            #expect(try await command.run().lines == ["file", caller == .root ? "root" : "uid\(caller.uid)"])
        }
    }

    @Test func aFolderThatWouldBeEverythingIsNoDefault() async throws {
        try await withSandboxPlace(.user) { place in
            var command = place.command(["\(place.folder)/bin/lunette", "sandbox", "--", "true"])
            for folder in [place.home, place.folder, "/", "/usr", "/tmp", "/var/tmp", "/dev/shm"] {
                command.workdir = folder
                let refused = try await command.run(expecting: nil)
                #expect(refused.code == 125, "\(folder)")
                #expect(refused.errorText.contains("--allow-write"), "\(folder): \(refused.errorText)")
                var reader = command
                reader.arguments.insert("--read-only", at: reader.arguments.count - 2)
                let unread = try await reader.run(expecting: nil)
                #expect(unread.code == 125 && unread.errorText.contains("--allow-read"), "\(folder): \(unread.errorText)")
            }
        }
    }

    @Test func aPolicyIsMergedWithFlags() async throws {
        try await withSandboxPlace(.user) { place in
            let policy = "return { allow_write = { '.' }, env = { FROM = 'policy', BOTH = 'policy' }, resources = { pids = 40 } }"
            try Data(policy.utf8).write(to: URL(fileURLWithPath: "\(place.tree)/policy.lua"))
            let finished = try await place.sandbox(
                "policy.lua", "--env", "BOTH=flag", "--", "sh", "-c", "echo $FROM $BOTH; touch made", expecting: 0)
            #expect(finished.text == "policy flag")
            #expect(place.contents("\(place.tree)/made") != nil)
            for (source, complaint) in [
                ("return { allow_wirte = {} }", "did you mean \"allow_write\"?"), ("return 1", "not the table of a sandbox"),
                ("os.execute('true')", "os"), ("return {", "near <eof>"), ("while true do end", "longer than it may"),
            ] {
                try Data(source.utf8).write(to: URL(fileURLWithPath: "\(place.tree)/policy.lua"))
                let refused = try await place.sandbox("policy.lua", "--", "true")
                #expect(refused.code == 125, "\(source)")
                #expect(refused.errorText.contains(complaint), "\(source): \(refused.errorText)")
            }
        }
    }

    @Test func explainSaysWhatHoldsAndWhatDoesNot() async throws {
        try await withSandboxPlace(.user) { place in
            let lines = try await place.sandbox("--explain", "--memory", "64m", "--cpus", "1", expecting: 0).text
            #expect(lines.contains("files        write: \(place.tree)"))
            #expect(lines.contains("no capabilities"))
            #expect(lines.contains("cpus         not enforced: no cgroup is delegated to this user"))
            let open = try await place.sandbox("--explain", "--seccomp", "unconfined", "--no-landlock", expecting: 0).text
            #expect(open.contains("seccomp      not enforced: unconfined"))
            #expect(open.contains("landlock     not enforced: switched off"))
        }
    }

    @Test(arguments: SandboxCaller.allCases)
    func whatWasAskedForOutsideIsReportedWithTheRuleThatAllowsIt(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let line =
                "cat \(place.outside)/file; echo x > /usr/made; cat \(place.tree)/none; cat /no/such/file; cat /etc/passwd > /dev/null; ls / > /dev/null"
            let finished = try await place.sandbox("--report", "--", "sh", "-c", line)
            let denied = finished.errorText.split(separator: "\n").filter { $0.hasPrefix("denied:") }
            var expected: [Substring] = ["denied: read \(place.outside)/file (hint: --allow-write . --allow-read \(place.outside)/file)"]
            // An ordinary user couldn't outside either.
            if caller == .root { expected.append("denied: write /usr/made (hint: --allow-write . --allow-write /usr)") }
            #expect(denied == expected)
            let allowed = try await place.sandbox(
                "--report", "--allow-read", "\(place.outside)/file", "--", "cat", "\(place.outside)/file", expecting: 0)
            #expect(allowed.text == place.secret)
            #expect(!allowed.errorText.contains("denied:"))
            // With a rule of its own the working folder's is one like any other.
            let ruled = try await place.sandbox("--report", "--allow-read", place.tree, "--", "cat", "\(place.outside)/file")
            #expect(ruled.errorText.contains("denied: read \(place.outside)/file (hint: --allow-read \(place.outside)/file)"))
            // What the hint says works, and leaves the working folder as it was.
            let followed = try await place.sandbox(
                "--allow-write", ".", "--allow-read", "\(place.outside)/file", "--", "sh", "-c", "cat \(place.outside)/file > made",
                expecting: 0)
            #expect(followed.errorText.isEmpty && place.contents("\(place.tree)/made") == place.secret)
            let explained = try await place.sandbox("--explain", "--allow-read", "\(place.outside)/file", expecting: 0)
            #expect(explained.lines.contains("files        the working folder \(place.tree) is empty, in memory: no rule names it"))
            let unasked = try await place.sandbox("--", "sh", "-c", line)
            #expect(!unasked.errorText.contains("denied:"))
        }
    }

    /// What can't be held is an error; whoever can do without says so.
    @Test func limitsThatNobodyHoldsAreRefused() async throws {
        try await withSandboxPlace(.user) { place in
            for (options, complaint) in [
                (["--memory", "64m"], "memory is enforced for each process, not for all together"),
                (["--cpus", "1"], "cpus is not enforced"),
                (["--cpuset-cpus", "0"], "cpuset is not enforced"),
                (["--network", "host", "--no-landlock", "--allow-connect", "443"], "ports are not enforced"),
            ] {
                let words = ["\(place.folder)/bin/lunette", "sandbox"] + options
                let refused = try await place.command(words + ["--", "touch", "made"]).run(expecting: nil)
                #expect(refused.code == 125)
                #expect(refused.errorText.contains("lunette: make the sandbox: \(complaint)"), "\(refused.errorText)")
                #expect(refused.errorText.contains("\nhint: ") && refused.errorText.contains("--best-effort"))
                #expect(place.contents("\(place.tree)/made") == nil)
                let taken = try await place.command(words + ["--best-effort", "--", "echo", "ran"]).run()
                #expect(taken.text == "ran")
                #expect(taken.errorText.contains("lunette: warning: \(complaint)"), "\(taken.errorText)")
            }
            // Of tasks the kernel itself keeps count.
            #expect(try await place.sandbox("--pids-limit", "30", "--", "true").code == 0)
        }
    }

    /// As an administrator gives it: a folder in each hierarchy. Another user than the other tests', so that they have none.
    @Test(.requires(.cgroupV1)) func limitsOfAnOrdinaryUserAreHeldWhereACgroupWasGiven() async throws {
        try await withSandboxPlace(.user) { place in
            let uid = SandboxCaller.uid + 1
            let given = ["memory", "cpu"].map { "/sys/fs/cgroup/\($0)/lunette-\(uid)" }
            defer { for folder in given { rmdir(folder) } }
            func command(_ words: [String]) -> Command {
                let lunette = ["\(place.folder)/bin/lunette", "sandbox", "--allow-read", place.probe] + words
                return Command(
                    ["setpriv", "--reuid", "\(uid)", "--regid", "\(uid)", "--clear-groups"] + lunette, environment: place.environment,
                    workdir: "/")
            }
            func sandbox(_ words: String...) async throws -> Finished { try await command(words).run(expecting: nil) }
            let taker = ["sh", "-c", "head -c 200m /dev/zero | tail -c 150m > /dev/null; echo $?"]
            #expect(try await sandbox("--memory", "48m", "--", "true").errorText.contains("no cgroup is delegated to this user"))
            for folder in given {
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
                try await Command("chown", "-R", "\(uid)", folder).run()
            }
            let explained = try await sandbox("--memory", "48m", "--cpus", "0.5", "--explain")
            #expect(explained.lines.contains { $0.hasPrefix("memory") && $0.hasSuffix("bytes together (cgroup v1)") }, "\(explained.text)")
            let held = try await sandbox("--memory", "48m", "--cpus", "0.5", "--format", "json", "--", taker[0], taker[1], taker[2])
            #expect(held.code == 0 && held.text != "0", "more memory was taken than allowed: \(held.text) \(held.errorText)")
            #expect(held.errorText.contains("\"not_enforced\":[]"), "\(held.errorText)")
            let running = try command(["--cpus", "0.5", "--", "sh", "-c", "echo up; exec sleep 600"]).start()
            try await running.says("up")
            let inside = "\(given[1])/lunette"
            let name = try #require(try FileManager.default.contentsOfDirectory(atPath: inside).first { $0.hasSuffix(".sandbox") })
            #expect(place.contents("\(inside)/\(name)/cpu.cfs_quota_us") == "50000\n")
            #expect(place.contents("\(inside)/\(name)/tasks")?.split(separator: "\n").count == 2, "pid 1 and the program")
            running.signal(SIGTERM)
            _ = try await running.wait()
            #expect(try await sandbox("--cpuset-cpus", "0", "--", "true").errorText.contains("cpuset is not enforced"))
            for folder in given {
                let left = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasPrefix("lunette") }
                #expect(left.isEmpty, "\(folder): \(left)")
            }
        }
    }

    @Test func resultsAreReadByProgramsToo() async throws {
        try await withSandboxPlace(.user) { place in
            func decoded(_ text: String) throws -> Any { try JSONSerialization.jsonObject(with: Data(text.utf8)) }
            let layers = try await place.sandbox("--explain", "--format", "json", "--seccomp", "unconfined", expecting: 0).text
            let entries = try #require(try decoded(layers) as? [[String: Any]])
            let seccomp = try #require(entries.first { $0["layer"] as? String == "seccomp" })
            #expect(seccomp["enforced"] as? Bool == false)
            #expect(entries.first?["enforced"] as? Bool == true)
            let line = "cat \(place.outside)/file; exit 9"
            let finished = try await place.sandbox("--report", "--format", "json", "--", "sh", "-c", line)
            let last = try #require(finished.errorText.split(separator: "\n").last)
            let result = try #require(try decoded(String(last)) as? [String: Any])
            #expect(result["code"] as? Int == 9)
            let denied = try #require(result["denied"] as? [[String: Any]])
            #expect((denied.first?["rule"] as? [String: String]) == ["allow_read": "\(place.outside)/file"])
            let wrong = try await place.sandbox("--format", "xml", "--", "true")
            #expect(wrong.errorText.contains("--format: \"xml\" is not one of text, json"))
        }
    }

    @Test(.requires(.cgroupV1)) func limitsOfRootAreHeldByCgroupsThatGoAgain() async throws {
        try await withSandboxPlace(.root) { place in
            let memory = "/sys/fs/cgroup/memory/lunette"
            let finished = try await place.sandbox(
                "--memory", "48m", "--", "sh", "-c", "head -c 200m /dev/zero | tail -c 150m > /dev/null; echo $?")
            #expect(finished.text != "0", "more memory was taken than allowed")
            let left = (try? FileManager.default.contentsOfDirectory(atPath: memory)) ?? []
            #expect(!left.contains { $0.hasSuffix(".sandbox") })
            // What can't be a limit is named by its flag, and nothing of it stays.
            for (words, complaint) in [
                (["--cpuset-cpus", "4095"], "--cpuset-cpus: this machine has no processor 4095\nhint: its processors are"),
                (["--pids-limit", "1"], "not enough for a sandbox and its program"),
            ] {
                let refused = try await place.sandbox(words[0], words[1], "--", "true")
                #expect(refused.code == 125 && refused.errorText.contains(complaint), "\(refused.errorText)")
            }
        }
    }

    @Test(arguments: SandboxCaller.allCases)
    func aSignalReachesTheWholeProcessGroup(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let line =
                "trap 'wait; echo outer; exit 3' TERM; sh -c 'trap \"echo inner; exit 0\" TERM; echo ready; sleep 600 & wait' & wait; wait"
            let running = try place.command(["\(place.folder)/bin/lunette", "sandbox", "--", "sh", "-c", line]).start()
            try await running.says("ready")
            running.signal(SIGTERM)
            let finished = try await running.wait()
            #expect(finished.code == 3)
            #expect(finished.text.contains("inner") && finished.text.contains("outer"), "\(finished.text)")
        }
    }

    @Test func aScriptRunsSandboxesWithoutAnEngine() async throws {
        try await withSandboxPlace(.user) { place in
            let script = """
                local lunette = require "lunette"
                local sandbox = lunette.sandbox
                local r = sandbox.run { args = { "sh", "-c", "cat; echo err >&2; exit 3" }, stdin = "in" }
                print(r.code, r.stdout, (r.stderr:gsub("\\n", "")))
                local function code(f, ...) local _, e = lunette.try(f, ...) return e.code end
                print(code(sandbox.run, { args = { "sleep", "600" }, timeout = "100ms" }))
                print(code(sandbox.run, { args = { "false" }, check = true }))
                print(code(sandbox.run, { args = { "true" }, alow_read = {} }))
                print(code(sandbox.run, { args = { "true" }, network = { allow = { "a.example:443" } } }))
                print(code(lunette.task.timeout, "100ms", function() sandbox.run { args = { "sleep", "600" } } end))
                print(sandbox.run { args = { "cat", "\(place.outside)/file" }, report = true }.denied[1].rule.allow_read)
                print(sandbox.run { args = { "touch", "made" } }.code, lunette.fs.exists "made")
                print(sandbox.run { args = { "touch", "made" }, allow_write = { "." } }.code, lunette.fs.exists "made")
                """
            try Data(script.utf8).write(to: URL(fileURLWithPath: "\(place.tree)/s.lua"))
            let finished = try await place.command(["\(place.folder)/bin/lunette", "s.lua"]).run()
            #expect(
                finished.lines == [
                    "3\tin\terr", "timeout", "exit_status", "invalid_argument", "invalid_argument", "timeout", "\(place.outside)/file",
                    "0\tfalse", "0\ttrue",
                ])
        }
    }

    /// A sandbox ends with whoever waits for it, killed or not.
    @Test(arguments: SandboxCaller.allCases)
    func aKilledCallerTakesItsSandboxWithIt(_ caller: SandboxCaller) async throws {
        try await withSandboxPlace(caller) { place in
            let mark = "sandbox-\(UUID().uuidString)"
            let running = try place.command(["\(place.folder)/bin/lunette", "sandbox", "--", "sh", "-c", "echo up; exec sleep 600", mark])
                .start()
            try await running.says("up")
            func sleepers() -> Int {
                let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
                return names.compactMap { Int32($0) }.filter { pid in
                    let environment = FileManager.default.contents(atPath: "/proc/\(pid)/environ") ?? Data()
                    return environment.range(of: Data("HOME=\(place.home)".utf8)) != nil
                        && (place.contents("/proc/\(pid)/comm") ?? "").hasPrefix("sleep")
                }.count
            }
            try await eventually("it sleeps") { sleepers() == 1 }
            running.signal(SIGKILL)
            _ = try await running.wait()
            try await eventually("the sandbox is gone") { sleepers() == 0 }
            guard caller == .root else { return }
            // Its cgroup goes with the next sandbox of any root.
            func left() -> [String] {
                let tasks = "/sys/fs/cgroup/pids/lunette"
                return ((try? FileManager.default.contentsOfDirectory(atPath: tasks)) ?? []).filter { $0.hasPrefix("s\(running.pid)-") }
            }
            try await eventually("its cgroup is swept") {
                try await place.sandbox("--", "true", expecting: 0)
                return left().isEmpty
            }
        }
    }

    @Test(.requires(.command("make"))) func theScriptThatShipsBuildsATree() async throws {
        try await withSandboxPlace(.user) { place in
            try Data("out:\n\tcp /etc/passwd out; cat ~/.ssh/id_rsa \(place.outside)/file > stolen; true\n".utf8)
                .write(to: URL(fileURLWithPath: "\(place.tree)/Makefile"))
            let script = "\(place.folder)/bin/make.lua"
            try FileManager.default.copyItem(atPath: "\(LunetteHome.package)/scripts/sandboxed-make.lua", toPath: script)
            let finished = try await place.command(["\(place.folder)/bin/lunette", script]).run()
            #expect(place.contents("\(place.tree)/out") != nil)
            #expect(place.contents("\(place.tree)/stolen") == "")
            #expect(
                finished.text.contains("asked to read \(place.outside)/file: allow_read = { \"\(place.outside)/file\" } would allow it"))
            #expect(finished.text.contains("id_rsa"))
        }
    }

    /// What is installed as `lunette` runs sandboxes itself, and is the whole program for everything else.
    @Test func theFrontDoesTheSame() async throws {
        try await withSandboxPlace(.user) { place in
            let built = (LunetteHome.binary as NSString).deletingLastPathComponent
            let front = "\(place.folder)/bin/front/lunette"
            try FileManager.default.createDirectory(atPath: "\(place.folder)/bin/front", withIntermediateDirectories: true)
            try await Programs.copy("\(built)/lunette-front", to: front)
            let library = "\(place.folder)/bin/lib/lunette"
            try FileManager.default.createDirectory(atPath: library, withIntermediateDirectories: true)
            try await Programs.copy("\(built)/lunette-shim", to: "\(library)/lunette-shim")
            func run(_ words: String...) async throws -> Finished {
                try await place.command([front] + words).run(expecting: nil)
            }
            #expect(try await run("sandbox", "--", "sh", "-c", "id -u; exit 4").code == 4)
            #expect(try await run("sandbox", "--", "id", "-u").text == "\(SandboxCaller.uid)")
            #expect(try await run("sandbox", "--", "none").code == 127)
            let typo = try await run("sandbox", "--alow-read", ".", "--", "true")
            #expect(try await place.sandbox("--alow-read", ".", "--", "true").errorText == typo.errorText)
            for words in [["sandbox", "p.lua", "--", "true"], ["version"], []] {
                let alone = try await place.command([front] + words).run(expecting: nil)
                #expect(alone.code == 125)
                #expect(alone.errorText.hasPrefix("lunette: find the program behind lunette: not at "), "\(alone.errorText)")
                #expect(alone.errorText.contains("\nhint: install it again"))
            }
            // Where an installation has the program; its name and its words stay what was typed.
            try Data("#!/bin/sh\necho \"program: $*\"\nexit 3\n".utf8).write(to: URL(fileURLWithPath: "\(library)/lunette"))
            chmod("\(library)/lunette", 0o755)
            let whole = try await run("ps", "-a", "two words")
            #expect(whole.code == 3 && whole.text == "program: ps -a two words")
            #expect(try await run("sandbox", "p.lua", "--", "true").text == "program: sandbox p.lua -- true")
        }
    }
}
