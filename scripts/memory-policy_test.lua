-- memory-policy.lua: what containers get, and what they don't.
local lunette = require "lunette"
local test, container = lunette.test, lunette.container
local describe, it, expect = test.describe, test.it, test.expect

local MiB = 2 ^ 20

describe("memory-policy.lua", function()
  test.before_each(function()
    test.image "web:1"
    test.load("memory-policy.lua", { resident = true })
  end)

  local function create(class, memory)
    return container.create {
      image = "web:1", labels = { memory = class }, resources = { memory = memory },
    }
  end

  local function limit_of(c) return c:inspect().spec.resources.memory end

  it("gives each class its limit", function()
    local expected = { small = 128 * MiB, medium = 1024 * MiB, large = 8192 * MiB }
    for class, bytes in pairs(expected) do expect(limit_of(create(class))):to_be(bytes) end
  end)

  it("takes what has no label for small", function()
    expect(limit_of(create())):to_be(128 * MiB)
    expect(function() create(nil, "129MiB") end):to_raise "denied"
  end)

  it("leaves what asks for no more than its class as it is", function()
    expect(limit_of(create("medium", "300MiB"))):to_be(300 * MiB)
    expect(limit_of(create("medium", "1GiB"))):to_be(1024 * MiB)
  end)

  it("denies more, and says how much there is", function()
    expect(function() create("small", 128 * MiB + 4096) end):to_raise
      "was denied: memory class small allows 128MiB$"
    expect(container.list { all = true }):to_equal {}
  end)

  it("denies a class that there isn't, and says which there are", function()
    expect(function() create "huge" end):to_raise
      "was denied: the label memory=huge names no class: there are small, medium, large$"
  end)

  it("denies a later update that goes beyond it", function()
    local c = create "medium"
    c:update { resources = { memory = "512MiB" } }
    expect(limit_of(c)):to_be(512 * MiB)
    expect(function() c:update { resources = { memory = "2GiB" } } end):to_raise "denied"
    expect(limit_of(c)):to_be(512 * MiB)
  end)

  it("denies a label that the limit is too much for", function()
    local c = create("medium", "512MiB")
    expect(function() c:update { labels = { memory = "small" } } end):to_raise "denied"
    c:update { labels = { memory = "large" }, resources = { memory = "2GiB" } }
    expect(limit_of(c)):to_be(2048 * MiB)
    expect(c:inspect().labels.memory):to_be "large"
  end)

  it("lowers the limit of what loses its label", function()
    local c = create("medium", "512MiB")
    c:update { labels = { memory = lunette.null } }
    expect(limit_of(c)):to_be(128 * MiB)
    expect(test.events { kind = "event", name = "container.updated" }):to_have_length(1)
  end)

  it("denies to lift a limit, with the label or without", function()
    local c = create("medium", "512MiB")
    local lifted = { resources = { memory = lunette.null } }
    expect(function() c:update(lifted) end):to_raise "denied"
    lifted.labels = { memory = lunette.null }
    expect(function() c:update(lifted) end):to_raise "denied"
    expect(limit_of(c)):to_be(512 * MiB)
  end)

  it("lets a pod be, and limits its members", function()
    container.run { name = "pod", pod = true }
    local member = container.create { image = "web:1", pod = "pod" }
    expect(limit_of(member)):to_be(128 * MiB)
    expect(limit_of(container.get "pod")):to_be_nil()
  end)
end)
