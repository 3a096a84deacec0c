-- canary.lua: what is asked, how both sides are compared, and that nothing stays.
local lunette = require "lunette"
local test, container = lunette.test, lunette.container
local describe, it, expect = test.describe, test.it, test.expect

describe("canary.lua", function()
  test.before_each(function()
    test.image "web:1"
    test.image "web:2"
  end)

  test.after_each(function() expect(container.list { all = true }):to_equal {} end)

  -- Probes answer by the image of who is asked: { after = seconds, code = f(number) }.
  local function play(plays)
    local asked = {}
    test.exec(nil, nil, function(exec)
      local image = exec.container:inspect().spec.image
      asked[image] = (asked[image] or 0) + 1
      local reply = plays[image] or {}
      return { after = reply.after, code = reply.code and reply.code(asked[image]) or 0 }
    end)
    return asked
  end

  local function run(...)
    return test.load("canary.lua", "web:1", "web:2", "--exec", "ping", "--rounds", "10", ...)
  end

  it("promotes what is as good, and asks both sides the same", function()
    local asked = play { ["web:1"] = { after = "10ms" }, ["web:2"] = { after = "11ms" } }
    local script = run("--old", "3", "--new", "2")
    expect(script.error):to_be_nil()
    expect(script.code):to_be(0)
    expect(script.output):to_match "\npromote web:2\n$"
    expect(script.output):to_match "old +web:1 +30 +0 +10%.0 ms +10%.0 ms\n"
    expect(script.output):to_match "new +web:2 +20 +0 +11%.0 ms +11%.0 ms\n"
    -- One more of each: is it ready?
    expect(asked):to_equal { ["web:1"] = 33, ["web:2"] = 22 }
  end)

  it("keeps the old image when the new one fails more often", function()
    play { ["web:2"] = { code = function(number) return number % 5 == 0 and 1 or 0 end } }
    local script = run()
    expect(script.code):to_be(1)
    expect(script.output):to_match "\nkeep web:1: 20%.0 %% of its probes failed, 0%.0 %% of the old"
  end)

  it("doesn't blame the new image for what both do", function()
    local fails = { code = function(number) return number % 5 == 0 and 1 or 0 end }
    play { ["web:1"] = fails, ["web:2"] = fails }
    expect(run("--old", "1").output):to_match "\npromote web:2\n"
  end)

  it("keeps the old image when the new one is slower", function()
    play { ["web:1"] = { after = "100ms" }, ["web:2"] = { after = "150ms" } }
    local script = run()
    expect(script.code):to_be(1)
    expect(script.output):to_match "keep web:1: its median of 150%.0 ms is more than 20 %% over 100"
    expect(run("--slower", "60").code):to_be(0)
  end)

  it("counts what takes too long as a failure", function()
    play { ["web:2"] = { after = "1m" } }
    local script = run("--timeout", "3s", "--ready", "5s")
    expect(script.output):to_match "new +web:2 +10 +10 +%- +%-\n"
    expect(script.output):to_match "\nkeep web:1: every probe of the new image failed\n"
  end)

  it("counts a program that ends as failures", function()
    test.program(nil, function(start)
      return start.container:inspect().spec.image == "web:2" and { after = "3s", code = 1 } or {}
    end)
    play {}
    expect(run().output):to_match "\nkeep web:1: %d+%.0 %% of its probes failed"
  end)

  it("asks for a page with wget, in containers without a network", function()
    local args
    test.exec(nil, nil, function(exec)
      args = exec.args
      return { code = 0 }
    end)
    local script = test.load("canary.lua", "web:1", "web:2", "--http", "8080/health",
      "--rounds", "1", "--", "httpd", "-f")
    expect(script.code):to_be(0)
    expect(args):to_equal { "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/health" }
    local spec = test.events { kind = "call", name = "container.run" }[1].arguments.spec
    expect(spec):to_match { network = "none", lifetime = "script", args = { "httpd", "-f" } }
  end)

  it("wants two images and one probe", function()
    for _, words in ipairs { { "web:1" }, { "web:1", "web:2" },
      { "web:1", "web:2", "--exec", "a", "--http", "80/" } } do
      local script = test.load("canary.lua", table.unpack(words))
      expect(tostring(script.error)):to_match "^usage: "
    end
    expect(tostring(run("--old", "0").error)):to_contain "--old wants a number"
    expect(tostring(run("--odl", "1").error)):to_contain "--odl is no option"
  end)
end)
