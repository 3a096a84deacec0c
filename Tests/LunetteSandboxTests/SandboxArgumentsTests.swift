import LunetteSpec
import Testing

@testable import LunetteSandbox

@Suite struct SandboxArgumentsTests {
    private func spec(_ words: [String], policy: Value? = nil, directory: String = "/home/ann/src") throws -> SandboxSpec {
        try SandboxArguments(words).spec(policy: policy, directory: directory, home: "/home/ann")
    }

    private func complaint(_ words: [String]) -> String? {
        do throws(LunetteError) {
            _ = try SandboxArguments(words)
            return nil
        } catch { return error.message }
    }

    @Test func theWorkingFolderIsWritableUnlessARuleSaysAnything() throws {
        #expect(try spec(["make"]).allowWrite == ["."])
        #expect(try spec(["--read-only", "make"]).allowRead == ["."])
        #expect(try spec(["--allow-read", "x", "make"]).allowWrite.isEmpty)
        #expect(try spec(["make"], policy: ["allow_read": ["x"]]).allowWrite.isEmpty)
    }

    @Test(arguments: ["/", "/home", "/home/ann", "/etc", "/var", "/tmp", "/var/tmp"])
    func aFolderThatIsEverybodysIsNoDefaultNeitherWrittenNorRead(_ directory: String) throws {
        let written = #expect(throws: LunetteError.self) { try spec(["make"], directory: directory) }
        #expect(written?.hint?.contains("--allow-write PATH") == true)
        let read = #expect(throws: LunetteError.self) { try spec(["--read-only", "make"], directory: directory) }
        #expect(read?.hint?.contains("--allow-read PATH") == true)
        #expect(try spec(["--allow-read", "/usr", "make"], directory: directory).allowWrite.isEmpty)
    }

    @Test(arguments: [
        "/usr/lib", "/usr/local/bin", "/usr/src", "/etc/ssl", "/var/lib", "/var/lib/dpkg", "/proc/self", "/dev/shm", "/home/ann/.config",
        "/home/ann/.local/share", "/home/ann/.ssh/keys",
    ])
    func whatTheMachineLivesOnIsNotWrittenByStandingInIt(_ directory: String) throws {
        let error = #expect(throws: LunetteError.self) { try spec(["make"], directory: directory) }
        #expect(error?.message.hasPrefix("the working folder is \(directory): ") == true)
        #expect(try spec(["--allow-write", ".", "make"], directory: directory).allowWrite == ["."])
    }

    @Test(arguments: ["/usr/src/linux", "/usr/local/src/x", "/var/www/site", "/var/lib/ci/work", "/srv/x", "/home/ann/.config/nvim"])
    func treesThatPeopleWorkInAreWritten(_ directory: String) throws {
        #expect(try spec(["make"], directory: directory).allowWrite == ["."])
    }

    @Test func keysAreNotReadEither() throws {
        #expect(throws: LunetteError.self) { try spec(["--read-only", "ls"], directory: "/home/ann/.gnupg") }
        #expect(try spec(["--read-only", "ls"], directory: "/usr/lib").allowRead == ["."])
    }

    @Test func aProfileMayBeNamedFromHere() throws {
        #expect(try spec(["--seccomp", "p.json", "x"]).seccomp == .path("/home/ann/src/p.json"))
        #expect(try spec(["--", "x"], policy: ["seccomp": "~/p.json"]).seccomp == .path("/home/ann/p.json"))
        #expect(try spec(["--seccomp", "unconfined", "x"]).seccomp == .unconfined)
    }

    @Test(arguments: [["ci.lua", "--explain"], ["ci.lua", "true"], ["--explain", "./ci.lua"], ["-m", "64m", "ci.lua", "sh", "-c", "x"]])
    func aPolicyIsNotTakenForTheProgramNorTheOtherWayRound(_ words: [String]) throws {
        let error = #expect(throws: LunetteError.self) { try SandboxArguments(words) }
        #expect(error?.message.hasSuffix("ci.lua\" the policy or the program?") == true && error?.hint?.contains("-- COMMAND") == true)
        #expect(try SandboxArguments(["--", "ci.lua", "x"]).args == ["ci.lua", "x"])
        #expect(try SandboxArguments(["lua", "ci.lua"]).args == ["lua", "ci.lua"])
    }

    @Test func everyUnknownFieldOfAPolicyIsNamed() throws {
        let policy: Value = ["allow_wrte": ["."], "allow_raed": [:], "resources": ["memry": 1], "timeout": 5, "landlock": true]
        let error = #expect(throws: LunetteError.self) { try spec(["--", "x"], policy: policy) }
        #expect(error?.path == "resources.memry" && error?.message == "unknown option")
        #expect(
            error?.hint == "did you mean \"memory\"? unknown as well: allow_raed (allow_read?), allow_wrte (allow_write?)",
            "\(error?.hint ?? "")")
    }

    @Test func aFlagThatHidesNothingIsWarnedOf() throws {
        let arguments = try SandboxArguments(["--hide", ".evn", "--hide", ".git", "x"])
        var facts = SandboxFacts(directory: "/srv", home: "/home/ann", userName: "ann", uid: 1000, gid: 1000, isPrivileged: false)
        facts.found[".git"] = .init(path: "/srv/.git", kind: .directory)
        #expect(arguments.idleHides(facts) == ["--hide .evn: there is nothing of this name"])
    }

    @Test func aSharedFolderOfAnyNameIsNoDefault() throws {
        let arguments = try SandboxArguments(["make"])
        let error = #expect(throws: LunetteError.self) {
            try arguments.spec(policy: nil, directory: "/srv/drop", home: "/home/ann", isShared: true)
        }
        #expect(error?.message == "the working folder is /srv/drop: other users' files and sockets are in it too")
        #expect(SandboxFactsReader.isShared("/tmp") && !SandboxFactsReader.isShared("/usr"))
    }

    @Test func aRuleInTheWorkingFoldersPlaceIsWarnedOf() throws {
        func warning(_ words: [String], directory: String = "/home/ann/src") throws -> String? {
            let arguments = try SandboxArguments(words)
            let spec = try arguments.spec(policy: nil, directory: directory, home: "/home/ann")
            var facts = SandboxFacts(
                directory: directory, home: "/home/ann", userName: "ann", uid: 1000, gid: 1000, isPrivileged: false)
            for text in spec.allowRead + spec.allowWrite {
                let path = text == "." ? directory : text.hasPrefix("/") ? text : "\(directory)/\(text)"
                facts.found[text] = .init(path: path, kind: .directory)
            }
            return try arguments.warning(spec, facts)
        }
        #expect(
            try warning(["--allow-read", "lib", "make"])
                == "the working folder /home/ann/src is in memory, what is written there is lost: a rule takes its place, --allow-write . keeps it"
        )
        #expect(try warning(["--allow-read", "lib", "make"], directory: "/srv/a")?.contains("isn't there, it starts in /home/ann") == true)
        for quiet in [["make"], ["--read-only", "make"], ["--allow-write", ".", "--allow-read", "lib", "make"]] {
            #expect(try warning(quiet) == nil)
        }
        #expect(try warning(["--allow-read", "lib", "--workdir", "/tmp", "make"]) == nil)
        #expect(try warning(["--allow-read", "lib", "make"], directory: "/home/ann") == nil)
    }

    @Test func everythingFromTheCommandOnIsTheCommands() throws {
        #expect(try spec(["-m64m", "sh", "-c", "--network"]).args == ["sh", "-c", "--network"])
        #expect(try spec(["--", "--odd"]).args == ["--odd"])
        let arguments = try SandboxArguments(["p.lua", "--network=host", "--", "p.lua"])
        #expect(arguments.policy == "p.lua" && arguments.args == ["p.lua"])
    }

    @Test func flagsAreAddedToAPolicy() throws {
        let policy: Value = ["allow_read": ["/a"], "env": ["A": "1", "B": "1"], "resources": ["pids": 5], "network": "none"]
        let merged = try spec(["--allow-read", "/b", "-e", "B=2", "-m", "8MiB", "--network", "host", "--", "x"], policy: policy)
        #expect(merged.allowRead == ["/a", "/b"])
        #expect(merged.env == ["A": "1", "B": "2"])
        #expect(merged.resources.pids == 5 && merged.resources.memory == 8 << 20)
        #expect(merged.network == .host)
    }

    @Test(arguments: [
        (["--alow-read", "x"], "unknown option \"--alow-read\""), (["--allow-read"], "--allow-read needs a value: PATH"),
        (["--allow-read="], "--allow-read needs a value: PATH"), (["--report=yes"], "--report takes no value"),
        (["--cpus", "many"], "--cpus: \"many\" is no number"), (["--allow-bind", "70000"], "--allow-bind: \"70000\" is no port"),
        (["a.lua", "b.lua", "--", "x"], "\"b.lua\" stands before \"--\": only one policy file may"),
        (["-e", "=x"], "--env: \"=x\" has no name"),
        (["-e", "A B"], "--env: \"A B\" is neither NAME=VALUE nor the name of a variable"),
    ])
    func wrongWordsAreNamed(_ words: [String], _ message: String) {
        #expect(complaint(words) == "read the options of sandbox: \(message)")
    }

    @Test func portsAreChosenOfTheHostsNetworkOnly() throws {
        for option in ["--allow-connect", "--allow-bind"] {
            let error = #expect(throws: LunetteError.self) { try spec([option, "443", "x"]) }
            #expect(error?.hint?.contains("--network host") == true)
            #expect(throws: Never.self) { try spec([option, "443", "--network", "host", "x"]) }
        }
    }

    @Test func aUserIsCalledWhatTheUsersNumberIs() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nadmin:x:0:0::/root:/bin/sh\n"
        func name(_ uid: UInt32, _ environment: [String: String] = [:]) -> String { UserName.name(of: uid, environment, passwd: passwd) }
        #expect(name(1000, ["USER": "root"]) == "ann")
        #expect(name(1000) == "ann")
        #expect(name(0, ["USER": "admin"]) == "admin")
        #expect(name(0, ["USER": "ann", "LOGNAME": "root"]) == "root")
        // Of a directory service's users the file knows nothing.
        #expect(name(70_000, ["USER": "carol"]) == "carol")
        #expect(name(70_000, ["USER": "root", "LOGNAME": "carol"]) == "carol")
        #expect(name(70_000, ["USER": "root"]) == "uid70000")
    }

    @Test func helpNamesEveryOption() {
        for option in SandboxArguments.options { #expect(SandboxCommandLine.help.contains(option.names[0])) }
    }
}
