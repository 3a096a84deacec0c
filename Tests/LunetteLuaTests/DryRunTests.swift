import LunetteAPI
import LunetteSpec
import Testing

@testable import LunetteLua

@Suite struct DryRunTests {
    private func engine() -> FakeEngine {
        FakeEngine { (_, request, _, _) async throws(LunetteError) in
            switch request.function {
            case "container.get": return FakeEngine.handle("container", "abc123", "web")
            case "container.inspect": return ["name": "web", "status": "running"]
            case "image.find": return .null
            default: throw LunetteError(.internal, "\(request.function) was really called")
            }
        }
    }

    @Test(arguments: [
        ("local c = container.run { image = 'x', name = 'a' } return c.name, c:wait().code, c:exec({ 'ls' }).stdout", "a\t0\t"),
        (
            "container.run { image = 'x', name = 'a' } local c = container.get 'a' local s = c:inspect().status c:stop() return s, c:inspect().status",
            "running\tstopped"
        ),
        ("local n = 0 for _ in container.run({ image = 'x' }):follow_logs {} do n = n + 1 end return n", "0"),
        ("return container.get('web'):inspect().status, image.find 'nope'", "running\tnil"),
        ("return image.pull('redis:7', { progress = print }).name, image.build { tag = 't:1' }.name", "redis:7\tt:1"),
        ("volume.create 'v' return volume.get('v'):usage().used, #volume.get('v'):users()", "0\t0"),
        (
            "container.get('web'):exec 'rm -rf /' container.get('web'):remove { force = true } image.save('x', '/x.tar') return 'over'",
            "over"
        ),
        (
            "local r = lunette.apply { volumes = { d = {} }, containers = { a = { image = 'x' } } } "
                + "return r.containers.a.name, r.containers.a:inspect().status, r.volumes.d.name, #r.changed", "a\tcreated\td\t0"
        ),
        ("lunette.before('container.create', { name = 'n' }, print):off() lunette.stay() return 'over'", "over"),
        (
            "fs.write('/nowhere/at/all', 'x') fs.remove '/nowhere' local d = fs.temporary() fs.write(d .. '/f', 'real') return fs.read(d .. '/f')",
            "real"
        ),
    ])
    func whatChangesIsOnlySaid(_ source: String, _ expected: String) async {
        let ran = await runLua(source, engine: engine(), isDryRun: true)
        #expect(ran.ok, "\(ran.error)")
        #expect(ran.text == expected)
    }

    @Test func mistakesAreFoundAllTheSame() async {
        let ran = await runLua("container.run { image = 'x', memroy = 1 }", engine: engine(), prints: false, isDryRun: true)
        #expect(!ran.ok && ran.message.contains("spec.memroy: unknown option"))
    }
}
