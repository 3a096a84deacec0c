-- sandboxed-make.lua: what it asks of its sandbox, and what it says of the answer.
local lunette = require "lunette"
local test = lunette.test
local describe, it, expect = test.describe, test.it, test.expect

describe("sandboxed-make.lua", function()
  local asked
  local answer = { code = 0, denied = {}, not_enforced = {} }

  local function play(changes)
    test.stub("sandbox.run", function(arguments)
      asked = arguments
      return lunette.merge(answer, changes or {})
    end)
  end

  it("lets make write the tree alone, without a network", function()
    play()
    expect(test.load("sandboxed-make.lua", "/src/tree", "all", "check").code):to_be(0)
    expect(asked.args):to_equal { "make", "-C", "/src/tree", "all", "check" }
    expect(asked.allow_write):to_equal { "/src/tree" }
    expect(asked.workdir):to_be "/src/tree"
    expect(asked.network):to_be_nil()
    expect(asked.timeout):to_be "10m"
  end)

  it("builds the working directory when it is told nothing", function()
    play()
    test.load "sandboxed-make.lua"
    expect(asked.args):to_equal { "make", "-C", "." }
    expect(asked.workdir):to_be_nil()
  end)

  it("ends as make does", function()
    play { code = 2 }
    expect(test.load("sandboxed-make.lua").code):to_be(2)
  end)

  it("says which rule was missing", function()
    local rule = { allow_read = "/opt/sdk" }
    play { denied = { { action = "read", path = "/opt/sdk/a.h", rule = rule } } }
    local script = test.load "sandboxed-make.lua"
    expect(script.output):to_be(
      'asked to read /opt/sdk/a.h: allow_read = { "/opt/sdk" } would allow it\n')
  end)

  it("passes a time-out on", function()
    test.fail("sandbox.run", "timeout", { message = "make was killed after 600 s" })
    local script = test.load "sandboxed-make.lua"
    expect(script.error.code):to_be "timeout"
    expect(script.code):to_be(1)
  end)
end)
