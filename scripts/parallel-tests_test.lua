-- parallel-tests.lua: how many run at once, what is told of them, and that nothing stays.
local lunette = require "lunette"
local test, fs, container = lunette.test, lunette.fs, lunette.container
local describe, it, expect = test.describe, test.it, test.expect

describe("parallel-tests.lua", function()
  local folder, most

  local function play(plays)
    for name in pairs(plays) do fs.write(folder .. "/" .. name, "#!/bin/sh\n") end
    most = 0
    test.program(nil, function(start)
      most = math.max(most, #container.list { all = true })
      return plays[start.args[2]:match "^/tests/(.*)$"]
    end)
  end

  local function run(...) return test.load("parallel-tests.lua", "ci:1", folder, ...) end

  test.before_each(function()
    folder = fs.temporary()
    test.image "ci:1"
  end)

  test.after_each(function() expect(container.list { all = true }):to_equal {} end)

  it("runs so many at a time, and takes the next when one is done", function()
    local plays = { ["0.sh"] = { after = "30s" } }
    for i = 1, 6 do plays[i .. ".sh"] = { after = "10s" } end
    play(plays)
    local before = test.clock.now()
    local script = run("--jobs", "3")
    expect(script.error):to_be_nil()
    expect(script.code):to_be(0)
    expect(most):to_be(3)
    expect(test.clock.now() - before):to_be_near(30, 0.5)
    expect(script.output):to_match "^1%.%.7\nok 1 %- [12]%.sh # 10%.0 s\n"
    expect(script.output):to_match "\nok %d %- 0%.sh # 30%.0 s\n"
    expect(script.output):to_match "# 7 of 7 passed in 30%.0 s\n$"
  end)

  it("runs four where nothing is said", function()
    local plays = {}
    for i = 1, 8 do plays[i .. ".sh"] = { after = "10s" } end
    play(plays)
    run()
    expect(most):to_be(4)
  end)

  it("says of each failure what it was and what it wrote", function()
    play {
      ["a.sh"] = { code = 0, after = "1s", stdout = "not shown\n" },
      ["b.sh"] = { code = 3, after = "1s", stdout = "one\ntwo\n" },
      ["c.sh"] = { signal = "SIGSEGV", after = "1s", stdout = "no line feed" },
    }
    local script = run("--jobs", "1")
    expect(script.code):to_be(1)
    expect(script.output):to_be [[
1..3
ok 1 - a.sh # 1.0 s
not ok 2 - b.sh # 1.0 s
# exit code 3
# one
# two
not ok 3 - c.sh # 1.0 s
# SIGSEGV
# no line feed
# 1 of 3 passed in 3.0 s
]]
  end)

  it("ends what takes too long, and what has too little memory", function()
    play { ["a.sh"] = {}, ["b.sh"] = {}, ["c.sh"] = { after = "19s" } }
    lunette.on("container.started", function(ev)
      if ev.container:inspect().labels.test == "b.sh" then
        test.exit(ev.container, { oom_killed = true })
      end
    end)
    local script = run("--timeout", "20s")
    expect(script.output):to_match "not ok %d %- a%.sh # 20%.0 s\n# not done after 20s\n"
    expect(script.output):to_match "not ok %d %- b%.sh # 0%.0 s\n# out of memory\n"
    expect(script.output):to_match "\nok %d %- c%.sh # 19%.0 s\n"
  end)

  it("goes on when a container can't be made", function()
    play { ["a.sh"] = { code = 0 }, ["b.sh"] = { code = 0 } }
    test.fail("container.run", "resource_exhausted", { times = 1, message = "no more pids" })
    local script = run("--jobs", "1")
    expect(script.code):to_be(1)
    expect(script.output):to_match "not ok 1 %- a%.sh # 0%.0 s\n# .*no more pids\nok 2 %- b%.sh"
  end)

  it("shows them the folder alone, read-only and without a network", function()
    play { ["a.sh"] = { code = 0 } }
    fs.write(folder .. "/README", "no test")
    run()
    local runs = test.events { kind = "call", name = "container.run" }
    expect(runs):to_have_length(1)
    local spec = runs[1].arguments.spec
    expect(spec.mounts):to_equal {
      { type = "bind", source = folder, target = "/tests", readonly = true },
    }
    expect(spec):to_match { network = "none", lifetime = "script" }
  end)

  it("leaves nothing when it is interrupted", function()
    play { ["a.sh"] = {}, ["b.sh"] = {}, ["c.sh"] = {} }
    local script = test.load("parallel-tests.lua", {
      args = { "ci:1", folder, "--jobs", "2" }, background = true,
    })
    test.clock.advance "5s"
    expect(container.list()):to_have_length(2)
    script:stop()
    test.clock.advance "30s"
    expect(test.events { kind = "call", name = "container.run" }):to_have_length(2)
  end)

  it("wants an image, a folder with tests and a number", function()
    expect(tostring(test.load("parallel-tests.lua", "ci:1").error)):to_match "^usage: "
    local script = test.load("parallel-tests.lua", "ci:1", folder, "--jobs")
    expect(tostring(script.error)):to_match "%-%-jobs is no option, or has no value"
    expect(tostring(run("--jobs", "0").error)):to_match "^usage: "
    expect(tostring(run().error)):to_contain("no test (*.sh) in " .. folder)
  end)
end)
