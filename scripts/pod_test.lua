-- pod.lua on a simulated engine: its members' programs are played here.
local lunette = require "lunette"
local test, fs = lunette.test, lunette.fs
local describe, it, expect = test.describe, test.it, test.expect

describe("pod.lua", function()
  local busybox

  test.before_each(function()
    busybox = fs.temporary() .. "/busybox"
    fs.write(busybox, "not really")
    test.exec("*-sidecar", { "wget", "..." }, { stdout = "hello from the pod\n" })
    test.exec("*-sidecar", { "sh", "-c", "ps *" }, { stdout = "1\n" })
    test.exec("*-sidecar", { "hostname" }, { stdout = "example-pod\n" })
  end)

  it("runs a server and a sidecar in one pod", function()
    local script = test.load("pod.lua", busybox)
    expect(script.error):to_be_nil()
    expect(script.output):to_contain "the sidecar reads over 127.0.0.1: hello from the pod"
    expect(script.output):to_contain "ids       one range for all: yes"
    expect(script.output):to_contain "stopped   pod stopped, server stopped, sidecar stopped"
  end)

  it("can't take the pod away from below its members", function()
    expect(test.load("pod.lua", busybox).output):to_match "refused +invalid_state"
  end)

  it("asks for the page until the server is there", function()
    test.exec("*-sidecar", { "wget", "..." }, { code = 1, times = 5 })
    expect(test.load("pod.lua", busybox).ok):to_be_true()
    expect(test.events { kind = "call", name = "container.exec" }):to_have_length(8)
  end)

  it("leaves nothing behind when a member doesn't start", function()
    local match = { spec = { name = "example-pod-sidecar" } }
    test.fail("container.run", "resource_exhausted", { match = match })
    local script = test.load("pod.lua", busybox)
    expect(script.error.code):to_be "resource_exhausted"
    expect(lunette.container.list { all = true }):to_equal {}
    expect(lunette.volume.list()):to_equal {}
    expect(lunette.image.list()):to_equal {}
  end)
end)
