-- redis.lua on a simulated engine: a Redis of ten lines that keeps its keys by volume.
local lunette = require "lunette"
local test = lunette.test
local describe, it, expect = test.describe, test.it, test.expect

describe("redis.lua", function()
  local keys, pings

  test.before_each(function()
    keys, pings = {}, 0
    test.exec("example-redis", { "redis-cli", "ping" }, function()
      pings = pings + 1
      if pings < 3 then return { code = 1, stderr = "Could not connect to Redis\n" } end
      return { stdout = "PONG\n" }
    end)
    test.exec("example-redis", { "redis-cli", "set", "*", "*" }, function(start)
      keys[start.args[3]] = start.args[4]
      return { stdout = "OK\n" }
    end)
    test.exec("example-redis", { "redis-cli", "get", "*" }, function(start)
      return { stdout = (keys[start.args[3]] or "") .. "\n" }
    end)
    test.exec("example-redis", { "sh", "-c", "*" }, { code = 0 })
    test.exec("example-redis", { "test", "-e", "*" }, { code = 1 })
  end)

  it("finds its keys in a new container", function()
    local script = test.load("redis.lua", "redis:7")
    expect(script.error):to_be_nil()
    expect(script.output):to_contain "killed    exit code 137, SIGKILL"
    expect(script.output):to_contain "found     3 of 3 keys in a new container"
    expect(test.events "container.run"):to_have_length(2)
  end)

  it("asks again until the server answers", function()
    test.load("redis.lua", "redis:7")
    expect(pings):to_be(4)
  end)

  it("gives up after twenty seconds", function()
    test.exec("example-redis", { "redis-cli", "ping" }, { code = 1 })
    local before = test.clock.now()
    local script = test.load("redis.lua", "redis:7")
    expect(script.error.code):to_be "timeout"
    expect(test.clock.now() - before):to_be(20)
  end)

  it("notices keys that are lost", function()
    local kills = 0
    lunette.on("container.exited", function()
      kills = kills + 1
      keys = {}
    end)
    local script = test.load("redis.lua", "redis:7")
    expect(script.ok):to_be_false()
    expect(tostring(script.error)):to_match "key %w+ came back as"
    expect(kills):to_be(1)
  end)

  it("hands its options on", function()
    test.load("redis.lua", "redis:7", "--username", "me", "--password", "word", "--plain-http")
    expect(test.events("image.pull")[1].arguments):to_match {
      ref = "redis:7", username = "me", password = "word", tls = false,
    }
  end)

  it("keeps the image and removes the rest", function()
    test.load("redis.lua", "redis:7")
    expect(lunette.container.list { all = true }):to_equal {}
    expect(lunette.volume.list()):to_equal {}
    expect(lunette.image.list()):to_have_length(1)
  end)

  it("wants an image", function()
    expect(tostring(test.load("redis.lua").error)):to_match "^usage: redis.lua IMAGE"
  end)
end)
