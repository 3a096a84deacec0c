-- restart-unhealthy.lua: pauses to the second, and who ends the row.
local lunette = require "lunette"
local test, container = lunette.test, lunette.container
local describe, it, expect = test.describe, test.it, test.expect

describe("restart-unhealthy.lua", function()
  local begin

  test.before_each(function()
    test.image "web:1"
    test.load("restart-unhealthy.lua", { resident = true })
    begin = test.clock.now()
  end)

  local function run(health)
    return container.run {
      name = "web", image = "web:1", lifecycle = "restart-unhealthy",
      health = health and { exec = { "check" }, period = "10s", failure_threshold = 3 } or nil,
    }
  end

  -- When it was started, in whole seconds since the test began.
  local function starts()
    local list = {}
    for _, event in ipairs(test.events { kind = "event", name = "container.started" }) do
      list[#list + 1] = math.floor(event.time - begin + 0.5)
    end
    return list
  end

  local function kills()
    local list = {}
    for _, call in ipairs(test.events { kind = "call", name = "container.kill" }) do
      list[#list + 1] = call.arguments.signal
    end
    return list
  end

  it("doubles the pause with each failure, and gives up after eight", function()
    test.program("web", { after = "1s", code = 3 })
    local c = run()
    test.clock.advance "1h"
    -- each run lasts a second, and the pauses are 1 2 4 8 16 32 64
    expect(starts()):to_equal { 0, 2, 5, 10, 19, 36, 69, 134 }
    expect(c:inspect()):to_match { status = "stopped", restarts = 7 }
    expect(c:inspect().restart_at):to_be_nil()
  end)

  it("begins a new row after a run of ten minutes", function()
    local runs = { "1s", "1s", "10m", "1s", "1h" }
    local n = 0
    test.program("web", function()
      n = n + 1
      return { after = runs[n], code = 3 }
    end)
    run()
    test.clock.advance "20m"
    expect(starts()):to_equal { 0, 2, 5, 606, 609 }
  end)

  it("counts a run that was a little shorter", function()
    test.program("web", { after = "599s", code = 3 })
    run()
    test.clock.advance "2000s"
    expect(starts()):to_equal { 0, 600, 1201, 1804 }
  end)

  it("leaves what ends with 0 to its restart policy", function()
    test.program("web", { after = "1s", code = 0 })
    local c = run()
    test.clock.advance "1h"
    expect(starts()):to_equal { 0 }
    expect(c:inspect().status):to_be "stopped"
  end)

  it("ends what is unhealthy and starts it again", function()
    local well = true
    test.exec("web", { "check" }, function() return { code = well and 0 or 1 } end)
    local c = run(true)
    test.clock.advance "60s"
    expect(c:inspect().health.status):to_be "healthy"
    well = false
    lunette.on("container.exited", function() well = true end)
    test.clock.advance "60s"
    expect(kills()):to_equal { "SIGTERM" }
    expect(starts()):to_have_length(2)
    expect(starts()[2] - starts()[1]):to_be_at_least(80)
    expect(c:inspect()):to_match { status = "running", restarts = 1 }
    expect(c:inspect().health.status):to_be "healthy"
  end)

  it("starts it again also when it ends with 0", function()
    test.program("web", { ignores = { "SIGTERM" } })
    test.exec("web", { "check" }, { code = 1 })
    local c = run(true)
    repeat test.clock.advance "1s" until #kills() == 1
    test.exit(c, { code = 0 })
    test.clock.advance "1s"
    expect(c:inspect()):to_match { status = "running", restarts = 1 }
    expect(kills()):to_equal { "SIGTERM" }
  end)

  it("forgets what was removed", function()
    test.program("web", { after = "1s", code = 3 })
    local c = run()
    test.clock.advance "12s" -- it has failed four times
    c:remove { force = true }
    begin = test.clock.now()
    run()
    test.clock.advance "12s"
    local all = starts()
    expect({ table.unpack(all, #all - 3) }):to_equal { 0, 2, 5, 10 }
  end)

  it("kills what doesn't heed the first signal, after ten seconds", function()
    test.program("web", { ignores = { "SIGTERM" } })
    test.exec("web", { "check" }, { code = 1 })
    run(true)
    test.clock.advance "60s"
    local calls = test.events { kind = "call", name = "container.kill" }
    expect(kills()[1]):to_be "SIGTERM"
    expect(kills()[2]):to_be "SIGKILL"
    expect(calls[2].time - calls[1].time):to_be_near(10, 0.1)
  end)

  it("gives up on what is never well", function()
    test.exec("web", { "check" }, { code = 1 })
    local c = run(true)
    test.clock.advance "2h"
    expect(starts()):to_have_length(8)
    expect(c:inspect().status):to_be "stopped"
  end)

  it("leaves alone what a user has stopped", function()
    local c = run()
    c:stop()
    test.clock.advance "1h"
    expect(starts()):to_equal { 0 }
    expect(c:inspect().status):to_be "stopped"
  end)
end)
