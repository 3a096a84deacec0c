import Foundation
import LunetteSpec
import Testing

@testable import LunetteLua

/// `process.run`: commands of the host.
@Suite struct HostProcessTests {
    @Test(arguments: [
        ("return process.run({ 'echo', 'a b' }).stdout", "a b\n"),
        ("local r = process.run('echo out; echo err >&2; exit 3') return r.code, r.stdout, r.stderr", "3\tout\n\terr\n"),
        ("local r = process.run('kill -TERM $$') return r.code, r.signal", "143\tSIGTERM"),
        ("return process.run({ 'cat' }, { stdin = 'in\\0put' }).stdout == 'in\\0put'", "true"),
        ("return process.run({ 'cat' }, { stdin = 'null' }).stdout", ""),
        ("return process.run('echo $A$HOME', { env = { A = 1, HOME = '/x' } }).stdout", "1/x\n"),
        ("return process.run({ 'pwd' }, { workdir = '/etc' }).stdout", "/etc\n"),
        ("local r = process.run('echo x', { stdout = 'null' }) return r.stdout, r.code", "nil\t0"),
        (
            "local n, text = 0, '' local r = process.run('for i in 1 2 3; do echo $i; sleep 0.05; done', "
                + "{ stdout = function(c) n = n + 1 text = text .. c end }) return text, r.stdout, n >= 1",
            "1\n2\n3\n\tnil\ttrue"
        ),
        (
            "local ok, e = pcall(process.run, { 'sh', '-c', 'echo why >&2; exit 4' }, { check = true }) return e.code, e.details.code, tostring(e)",
            "exit_status\t4\t-e:1: sh ended with exit code 4: why"
        ),
        (
            "local d = fs.temporary() process.run('echo x; echo y >&2', { stdout = { file = d .. '/o' }, stderr = { file = d .. '/e' } }) return fs.read(d .. '/o') .. fs.read(d .. '/e')",
            "x\ny\n"
        ),
    ])
    func aCommandRuns(_ source: String, _ expected: String) async {
        let ran = await runLua(source)
        #expect(ran.text == expected, "\(ran.text) \(ran.error)")
    }

    @Test(arguments: [
        ("process.run({ 'nothing-of-that-name' })", "not_found", "no such program in PATH"),
        ("process.run({ '/etc' })", "denied", "permission denied"),
        ("process.run({ 'true' }, { workdir = '/nowhere' })", "not_found", "enter /nowhere"),
        ("process.run({})", "invalid_argument", "names no program"),
        ("process.run({ 'true' }, { cwd = '/' })", "invalid_argument", "unknown option"),
        ("process.run({ 'true' }, { args = { 'x' } })", "invalid_argument", "given twice"),
        ("process.run('sleep 100', { timeout = '50ms' })", "timeout", "sleep 100 was killed after 0.05 s"),
        ("process.run('echo x; sleep 100', { stdout = function() error('enough', 0) end })", "script_failed", "enough"),
    ])
    func whatGoesWrongSaysHow(_ source: String, _ code: String, _ text: String) async {
        let ran = await runLua(source)
        #expect(!ran.ok && (ran.code == code || ran.code == "") && ran.message.contains(text), "\(ran.error)")
    }

    /// What a command has started goes with it, at a time-out and when the task is cancelled.
    @Test(arguments: [
        "pcall(process.run, 'sleep 4711.%d & sleep 4711.%d', { timeout = '100ms' })",
        "local t = task.spawn(process.run, 'sleep 4711.%d & sleep 4711.%d') task.sleep(0.1) t:cancel() pcall(task.await, t)",
        "task.spawn(process.run, 'sleep 4711.%d & sleep 4711.%d') task.sleep(0.1) error('the script ends', 0)",
    ])
    func nothingStaysOfAKilledCommand(_ source: String) async throws {
        let mark = Int.random(in: 1_000_000...9_999_999)
        _ = await runLua(source.replacingOccurrences(of: "%d", with: "\(mark)"))
        for _ in 0..<200 {
            if Self.commands(with: "4711.\(mark)").isEmpty { return }
            usleep(10_000)
        }
        Issue.record("still there: \(Self.commands(with: "4711.\(mark)"))")
    }

    private static func commands(with text: String) -> [String] {
        let pids = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return pids.filter { $0.allSatisfy(\.isNumber) }.compactMap { pid in
            guard let bytes = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return nil }
            let line = String(decoding: bytes, as: UTF8.self)
            return line.contains(text) ? line : nil
        }
    }

    @Test func limitedCodeNeedsThePermission() async {
        var limits = LuaState.Limits()
        limits.isLimited = true
        let refused = await runLua("process.run({ 'true' })", limits: limits, permissions: ["fs:/tmp"])
        #expect(refused.code == "denied" && refused.hint.contains("process:run"), "\(refused.error)")
        let allowed = await runLua("return process.run({ 'true' }).code", limits: limits, permissions: ["process:run"])
        #expect(allowed.text == "0", "\(allowed.error)")
    }

    @Test func readOnlyAndDrySessionsRunNothing() async {
        let refused = await runLua("process.run({ 'true' })", isReadOnly: true)
        #expect(refused.code == "denied", "\(refused.error)")
        let dry = await runLua("return process.run('exit 3').code, process.run('exit 3', { stdout = print }).code", isDryRun: true)
        #expect(dry.text == "0\t0", "\(dry.text) \(dry.error)")
    }
}
