-- collect-garbage.lua over weeks that pass in no time: it looks every six hours.
local lunette = require "lunette"
local test, container, image = lunette.test, lunette.container, lunette.image
local describe, it, expect = test.describe, test.it, test.expect

describe("collect-garbage.lua", function()
  local function names()
    local list = {}
    for _, c in ipairs(container.list { all = true }) do list[#list + 1] = c.name end
    table.sort(list)
    return list
  end

  local function images()
    local list = {}
    for _, img in ipairs(image.list()) do
      for _, ref in ipairs(img:inspect().refs) do list[#list + 1] = ref:match "[^/]+$" end
    end
    table.sort(list)
    return list
  end

  test.before_each(function()
    test.image "web:1"
    test.program("short*", { after = "1s", code = 1 })
    test.load("collect-garbage.lua", { resident = true })
  end)

  it("removes what ended a week ago, and nothing before", function()
    container.run { name = "short", image = "web:1" }
    test.clock.advance "7d" -- it ended a second after the first look
    expect(names()):to_equal { "short" }
    test.clock.advance "6h"
    expect(names()):to_equal {}
  end)

  it("counts from its end, not from its making", function()
    local c = container.run { name = "long", image = "web:1" }
    test.clock.advance "20d"
    expect(names()):to_equal { "long" }
    c:stop()
    test.clock.advance "6d18h"
    expect(names()):to_equal { "long" }
    test.clock.advance "6h"
    expect(names()):to_equal {}
  end)

  it("leaves what was never started, what waits for a restart and what is to be kept", function()
    container.create { name = "fresh", image = "web:1" }
    container.run { name = "short-kept", image = "web:1", labels = { keep = "for the audit" } }
    container.run {
      name = "short-again", image = "web:1",
      restart = { policy = "on_failure", backoff = { initial = "20d", max = "20d" } },
    }
    test.clock.advance "19d"
    expect(names()):to_equal { "fresh", "short-again", "short-kept" }
  end)

  it("removes images that no container has used for a month", function()
    test.clock.advance "29d18h"
    expect(images()):to_equal { "web:1" }
    test.clock.advance "6h"
    expect(images()):to_equal {}
  end)

  it("counts a container that came and went between two looks as a use", function()
    test.clock.advance "19d3h"
    container.run({ name = "x", image = "web:1" }):remove { force = true }
    test.clock.advance "30d" -- the look before it was three hours short of a month
    expect(images()):to_equal { "web:1" }
    test.clock.advance "3h"
    expect(images()):to_equal {}
  end)

  it("keeps the images of containers, also of stopped ones, and what has the label", function()
    test.image("kept:1", { labels = { keep = "yes" } })
    test.image "other:1"
    container.create { name = "fresh", image = "web:1" }
    test.clock.advance "45d"
    expect(images()):to_equal { "kept:1", "web:1" }
    container.get("fresh"):remove()
    test.clock.advance "29d18h"
    expect(images()):to_equal { "kept:1", "web:1" }
    test.clock.advance "6h"
    expect(images()):to_equal { "kept:1" }
  end)

  it("removes all references of an image", function()
    image.tag("web:1", "web:stable")
    test.clock.advance "29d18h"
    expect(images()):to_equal { "web:1", "web:stable" }
    test.clock.advance "6h"
    expect(images()):to_equal {}
  end)

  it("goes on after a failure and tries again the next time", function()
    container.run { name = "short-a", image = "web:1" }
    container.run { name = "short-b", image = "web:1" }
    test.fail("container.remove", "io", { times = 1, message = "the disk is unwell" })
    test.clock.advance "7d6h"
    expect(names()):to_have_length(1)
    test.clock.advance "6h"
    expect(names()):to_equal {}
  end)

  it("forgets when images were used that are gone", function()
    container.run({ name = "x", image = "web:1" }):remove { force = true }
    image.remove "web:1"
    test.clock.advance "1d"
    test.image "web:1" -- the same image: its month begins anew
    test.clock.advance "30d" -- seen again six hours after it came
    expect(images()):to_equal { "web:1" }
    test.clock.advance "6h"
    expect(images()):to_equal {}
  end)
end)
