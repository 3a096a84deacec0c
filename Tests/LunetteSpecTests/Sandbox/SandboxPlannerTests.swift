import LunetteSpec
import Testing

@testable import LunetteSpec

@Suite struct SandboxPlannerTests {
    private static func facts(uid: UInt32 = 1000, isPrivileged: Bool = false) -> SandboxFacts {
        var facts = SandboxFacts(
            directory: "/home/ann/src", home: "/home/ann", userName: "ann", uid: uid, gid: uid, isPrivileged: isPrivileged)
        facts.environment = ["TERM": "xterm", "LANG": "C.UTF-8", "SECRET": "s", "LC_ALL": "C"]
        facts.system = [
            .tree(path: "/usr", kind: .directory), .link(path: "/bin", target: "usr/bin"), .tree(path: "/etc/passwd", kind: .file),
        ]
        facts.landlockABI = 7
        for path in ["/home/ann/src", "/home/ann/.ssh", "/opt/tool", "/home/ann/src/.git"] {
            facts.found[path] = .init(path: path, kind: .directory)
        }
        return facts
    }

    private static func spec(_ change: (inout SandboxSpec) -> Void = { _ in }) -> SandboxSpec {
        var spec = SandboxSpec(args: ["make", "-j2"])
        spec.allowWrite = ["/home/ann/src"]
        change(&spec)
        return spec
    }

    private func error(_ spec: SandboxSpec, _ facts: SandboxFacts = facts()) -> LunetteError? {
        do throws(LunetteError) {
            _ = try SandboxPlanner.plan(spec, facts)
            return nil
        } catch { return error }
    }

    @Test func anOrdinaryUsersPlanIsTheRecordedOne() throws {
        let spec = Self.spec {
            $0.allowRead = ["/opt/tool", "/home/ann/src/.git"]
            $0.hide = ["/home/ann/src/key"]
            $0.tmpfs = [.init(path: "/scratch", size: 1 << 20)]
            $0.resources.memory = 64 << 20
        }
        try Golden.compare(try SandboxPlanner.plan(spec, Self.facts()).description, with: "sandbox-user.plan")
    }

    @Test func rootsPlanIsTheRecordedOne() throws {
        var facts = Self.facts(uid: 0, isPrivileged: true)
        facts.limits = .cgroup(v1: ["/sys/fs/cgroup/pids/lunette/s.sandbox"], v2: nil, oomEvents: nil)
        facts.devices = [.init(path: "/dev/kvm", kind: .characterDevice(major: 10, minor: 232))]
        let spec = Self.spec {
            $0.privateWrite = ["/opt/tool"]
            $0.network = .host
            $0.connectPorts = [443]
        }
        try Golden.compare(try SandboxPlanner.plan(spec, facts).description, with: "sandbox-root.plan")
    }

    /// A mount goes where a folder on the way to it is moved; the rule's own folder is a mount itself.
    @Test func theWaysToAMountAreKnown() throws {
        var facts = Self.facts()
        for path in ["/home/ann/src/a/b/c", "/opt/tool/x/y"] { facts.found[path] = .init(path: path, kind: .file) }
        let view = try SandboxView(
            Self.spec {
                $0.allowRead = ["/opt/tool"]
                $0.hide = ["/home/ann/src/a/b/c", "/opt/tool/x/y", "/usr/share/doc"]
            }, facts)
        let mounts = view.mountsOnTheHost(facts)
        #expect(Set(mounts) == ["/home/ann/src/a", "/home/ann/src/a/b", "/home/ann/src/a/b/c", "/opt/tool/x/y"])
        #expect(view.waysOnTheHost(to: mounts) == ["/home/ann/src/a", "/home/ann/src/a/b", "/opt/tool/x"])
    }

    @Test func aRuleForANameThatIsNoUTF8IsRefused() throws {
        for change in [{ $0.hide = ["b\u{fffd}d"] }, { $0.allowRead = ["b\u{fffd}d"] }] as [(inout SandboxSpec) -> Void] {
            let failure = error(Self.spec(change))
            #expect(failure?.code == .invalidArgument && failure?.message.contains("isn't UTF-8") == true, "\(String(describing: failure))")
        }
    }

    @Test func whatLiesOnAPathIsAttachedAfterIt() throws {
        let view = try SandboxView(Self.spec { $0.allowRead = ["/home/ann/src/.git"] }, Self.facts())
        let paths = view.items.map(\.path)
        #expect(paths == paths.sorted())
        #expect(view.access(to: "/home/ann/src/x") == .write)
        #expect(view.access(to: "/home/ann/src/.git/config") == .read)
        #expect(view.access(to: "/home/ann/.ssh/id") == .memory(size: nil, mode: 0o700))
        #expect(view.access(to: "/srv") == nil)
        #expect(view.access(to: "/bin/sh") == .read)
    }

    /// /tmp is the sandbox's own: what lies there outside isn't there inside.
    @Test(arguments: ["/tmp/home", "/var/tmp/a/b"]) func aHomeBelowAPrivateFolderIsMadeInIt(_ home: String) throws {
        var facts = Self.facts()
        facts.home = home
        #expect(try SandboxView(Self.spec(), facts).access(to: "\(home)/x") == .memory(size: nil, mode: 0o700))
        facts.found["/tmp"] = .init(path: "/tmp", kind: .directory)
        let ruled = try SandboxView(Self.spec { $0.allowWrite = ["/tmp"] }, facts)
        #expect(ruled.access(to: "/tmp/home/x") == .write)
    }

    /// Names that look alike, and one whose first mark joins the slash before it: to the kernel they are all different.
    @Test func rulesAreToldApartByBytes() throws {
        var facts = Self.facts()
        let (one, other, marked) = ("/home/ann/src/\u{e9}", "/home/ann/src/e\u{301}", "/home/ann/src/\u{301}x")
        for path in [one, other, marked] { facts.found[path] = .init(path: path, kind: .directory) }
        let view = try SandboxView(Self.spec { ($0.allowRead, $0.hide) = ([one], [other]) }, facts)
        #expect(view.access(to: one) == .read && view.access(to: other) == nil && view.access(to: marked) == .write)
        let both = try SandboxView(Self.spec { ($0.allowRead, $0.allowWrite) = ([one, marked], [other]) }, facts)
        #expect(both.access(to: one) == .read && both.access(to: other) == .write && both.access(to: marked) == .read)
    }

    @Test func theWiderOfTwoRulesForOnePathHolds() throws {
        let view = try SandboxView(Self.spec { $0.allowRead = ["/home/ann/src"] }, Self.facts())
        #expect(view.access(to: "/home/ann/src") == .write)
    }

    @Test func rulesThatNoSandboxCanHaveAreRefusedByPlace() throws {
        #expect(error(Self.spec { $0.allowRead = ["/none"] })?.path == "allow_read[1]")
        #expect(error(Self.spec { $0.allowWrite = ["/none"] })?.hint == "make it first: mkdir -p /none")
        for (path, code) in [
            ("/", ErrorCode.unsupported), ("/proc", .invalidArgument), ("/proc/sys", .invalidArgument), ("/dev", .invalidArgument),
        ] {
            var facts = Self.facts()
            facts.found[path] = .init(path: path, kind: .directory)
            #expect(error(Self.spec { $0.allowRead = [path] }, facts)?.code == code, "\(path)")
        }
        var facts = Self.facts()
        facts.devices = [.init(path: "/etc/passwd", kind: .file)]
        #expect(error(Self.spec(), facts)?.path == "devices")
    }

    @Test func onlyHarmlessVariablesComeAlong() {
        let list = SandboxEnvironment.list(Self.spec { $0.env = ["A": "1"] }, Self.facts())
        #expect(
            list == [
                "A=1", "HOME=/home/ann", "LANG=C.UTF-8", "LC_ALL=C", "LOGNAME=ann",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", "TMPDIR=/tmp", "USER=ann",
            ])
        #expect(SandboxEnvironment.list(Self.spec { $0.inheritEnv = ["SECRET"] }, Self.facts()).contains("SECRET=s"))
        #expect(SandboxEnvironment.list(Self.spec { $0.inheritsWholeEnv = true }, Self.facts()).contains("SECRET=s"))
    }

    @Test func landlockHoldsWhatMountsHold() throws {
        let plan = try SandboxPlanner.plan(Self.spec { $0.allowRead = ["/opt/tool"] }, Self.facts())
        let landlock = try #require(plan.process.landlock)
        #expect(landlock.handledFiles == .all)
        #expect(landlock.scopes == [.abstractSocket, .signal])
        #expect(landlock.paths.contains(.init(path: "/opt/tool", .readAndExecute)))
        #expect(landlock.paths.contains(.init(path: "/home/ann/src", LandlockPlan.FileRights.write.union(.readAndExecute))))
        #expect(try SandboxPlanner.plan(Self.spec { $0.hasLandlock = false }, Self.facts()).process.landlock == nil)
        var without = Self.facts()
        without.landlockABI = 0
        #expect(try SandboxPlanner.plan(Self.spec(), without).process.landlock == nil)
    }

    @Test(arguments: [
        (0, "not enforced: this kernel has none"), (1, "truncate: not enforced (ABI 3)"), (4, "ioctl of devices: not enforced (ABI 5)"),
        (7, "ABI 7: files, abstract sockets, signals"),
    ])
    func explanationsSayWhatAnOlderKernelDoesNotHold(_ abi: Int, _ text: String) throws {
        var facts = Self.facts()
        facts.landlockABI = abi
        #expect(SandboxExplanation.landlock(Self.spec(), facts).contains(text))
    }

    @Test(
        arguments: [
            (["args": []], "args"), (["args": ["x"], "allow_read": "x"], "allow_read"),
            (["args": ["x"], "allow_read": [1]], "allow_read[1]"),
            (["args": ["x"], "tmpfs": ["/x:mode=1"]], "tmpfs[1]"), (["args": ["x"], "network": "bridge"], "network"),
            (["args": ["x"], "network": ["allow": ["a:1"]]], "network"), (["args": ["x"], "timeout": 0], "timeout"),
            (["args": ["x"], "allow_connect": [65536]], "allow_connect[1]"), (["args": ["x"], "hostname": "a b"], "hostname"),
            (["args": ["x"], "allow_connect": [443]], "allow_connect"), (["args": ["x"], "allow_bind": [80]], "allow_bind"),
            (["args": ["x"], "resources": ["memory": "1"]], "resources.memory"), (["args": ["x"], "preset": "all"], "preset"),
        ] as [(Value, String)])
    func badSpecsAreOneErrorWithTheFieldsPath(_ value: Value, _ path: String) throws {
        var reader = try FieldReader(value)
        let failure: LunetteError?
        do throws(LunetteError) {
            _ = try SandboxSpec(reading: &reader)
            failure = nil
        } catch { failure = error }
        #expect(failure?.path == path)
    }

    @Test(
        arguments: [
            (0, ["landlock: this kernel has none"]), (7, []),
            (
                3,
                [
                    "landlock: ioctl on devices (ABI 3, 5 is needed)", "landlock: TCP ports (ABI 3, 4 is needed)",
                    "landlock: scopes (ABI 3, 6 is needed)",
                ]
            ),
        ] as [(Int, [String])])
    func aContainersRulesSayWhatAKernelDoesNotHold(_ abi: Int, _ words: [String]) throws {
        let value: Value = ["read": ["/"], "connect": [443], "scope": ["signal"]]
        var reader = try FieldReader(value)
        let spec = try LandlockSpec(reading: &reader)
        #expect(spec.notEnforced(abi: abi).map(\.text) == words)
        #expect(spec.value == value)
    }
}
