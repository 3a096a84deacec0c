-- hello.lua on a simulated engine: what its containers write is played here.
local lunette = require "lunette"
local test, fs = lunette.test, lunette.fs
local describe, it, expect = test.describe, test.it, test.expect

describe("hello.lua", function()
  local busybox, greetings

  test.before_each(function()
    busybox = fs.temporary() .. "/busybox"
    fs.write(busybox, "not really")
    greetings = ""
    test.program("hello-*", function(start)
      greetings = ("%s%s from %s, number %s\n"):format(
        greetings, "hello", start.container.name, start.env.NUMBER)
      return { code = 0, stdout = greetings }
    end)
  end)

  it("runs three containers on one volume", function()
    local script = test.load("hello.lua", busybox)
    expect(script.error):to_be_nil()
    for number = 1, 3 do
      local line = ("ran       hello-%d  exit code 0  it read %d line(s)"):format(number, number)
      expect(script.output):to_contain(line)
    end
    expect(script.output):to_contain "hello from hello-3, number 3"
    local runs = test.events { kind = "call", name = "container.run" }
    expect(runs):to_have_length(3)
    for _, run in ipairs(runs) do
      expect(run.arguments.spec.resources.memory):to_be "32MiB"
      expect(run.arguments.spec.mounts[1]):to_match { source = "hello-data", target = "/data" }
    end
  end)

  it("denies the fourth by a hook", function()
    local script = test.load("hello.lua", busybox)
    expect(script.output):to_match "hook +hello%-4 denied: .*privileged containers are not allowed"
  end)

  it("leaves nothing behind, also of a run that was killed", function()
    lunette.image.pull "lunette.example/hello:1"
    lunette.container.create {
      name = "hello-1", image = "lunette.example/hello:1", labels = { example = "hello" },
    }
    expect(test.load("hello.lua", busybox).ok):to_be_true()
    expect(lunette.container.list { all = true }):to_equal {}
    expect(lunette.volume.list()):to_equal {}
    expect(lunette.image.list()):to_equal {}
  end)

  it("says what is missing", function()
    local script = test.load("hello.lua", "/no/busybox")
    expect(script.code):to_be(1)
    expect(tostring(script.error)):to_contain "no busybox at /no/busybox"
    expect(test.events { kind = "call" }):to_equal {}
  end)

  it("ends with a build that fails", function()
    test.fail("image.build", "resource_exhausted", { message = "the disk is full" })
    local script = test.load("hello.lua", busybox)
    expect(script.error.code):to_be "resource_exhausted"
    expect(test.events "container.run"):to_equal {}
  end)
end)
