import LunetteSpec
import Testing

@testable import LunetteLua

@Suite struct CheckTests {
    private static let head = "local lunette = require \"lunette\"\nlocal container, image = lunette.container, lunette.image\n"

    @Test(arguments: [
        ("local x = ", 3, "unexpected symbol"), ("lunette.contaner.list()", 3, "lunette has no \"contaner\""),
        ("container.lst()", 3, "container has no function \"lst\""), ("container.run { imge = 'x' }", 3, "spec.imge: unknown option"),
        ("local c = container.run { image = 'x' }\nc:stpo()", 4, "a container has no method \"stpo\""),
        ("local c = container.run {\n  image = 'x',\n  resources = { memroy = f() },\n}", 3, "spec.resources.memroy: unknown option"),
        ("container.run { image = 'x', tty = 'yes' }", 3, "spec.tty: expected a boolean, got a string"),
        ("image.pull('x', { policy = 'sometimes' })", 3, "is not one of"), ("image.pull()", 3, "ref: is required"),
        ("local c = container.get('x')\nc:exec({ 'ls' }, { chek = true })", 4, "chek: unknown option"),
        ("local c = require('lunette').container\nc.lst()", 4, "container has no function \"lst\""),
        ("--[[ long\ncomment ]] container.lst()", 4, "no function"),
        ("image.build { tag = 't', copy = { { from = 'a' } } }", 3, "copy[1].to: is required"),
    ])
    func problemsAreFoundOnTheirLine(_ source: String, _ line: Int, _ message: String) throws {
        let problems = try ScriptChecker.problems(source: Array((Self.head + source).utf8), name: "x.lua")
        #expect(problems.count == 1 && problems.first?.line == line, "\(problems)")
        #expect(problems.first?.message.contains(message) == true, "\(problems)")
    }

    @Test(arguments: ["hello.lua", "redis.lua", "sandboxed-make.lua"])
    func theScriptsThatShipPass(_ name: String) throws {
        let folder = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        #expect(try ScriptChecker.problems(path: "/\(folder)/scripts/\(name)") == [])
    }

    @Test(arguments: [
        "container.run { image = name, env = { A = f(1, { 2 }) }, args = { 'a', b, 'c' } }", "container.run(spec)",
        "container.run(f { x = 1 })",
        "image.pull(ref, { progress = function(p) if p then print { y = 1 } end end, policy = 'always' })",
        "for _, c in ipairs(container.list { all = true }) do c:anything() end",
        "container.create { image = 'x', restart = { policy = 'always', backoff = { initial = '1s' } }, publish = { '80:80', { container_port = 1 } } }",
        "local t = { container = { lst = 1 } } print(t.container.lst)", "container.inspect { all = true }",
        "lunette.network.create('x', {})",
        "local c = container.get 'x' c = other c:whatever()", "lunette.on('container.exited', {}, function(ev) end)",
        "lunette.try(container.get, 'x')", "local t = require('lunette').task t.sleep '1ms'",
        "local f, t = require 'lunette'.fs, require(\"lunette\").task print(f.temporary(), t.sleep)",
        "local sleep = require('lunette').task.sleep sleep '1ms'", "local list = require('lunette').container.list() print(#list)",
        "local last = container.get('x'):logs()\nprint(last:gsub('a', 'b'))", "#!/usr/bin/env lunette",
        "local r = container.get('x'):exec({ 'ls' }, { stdout = function(d) end, stdin = 'x' }) print(r.code)",
    ])
    func goodScriptsPass(_ source: String) throws {
        let text = source.hasPrefix("#!") ? source + "\n" + Self.head : Self.head + source
        #expect(try ScriptChecker.problems(source: Array(text.utf8), name: "x.lua") == [])
    }
}
