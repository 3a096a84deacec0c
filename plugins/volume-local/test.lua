-- The driver in an engine, as `lunette test plugins` runs it; its folders are a temporary one's.
local lunette = require "lunette"
local test, volume, container = lunette.test, lunette.volume, lunette.container
local describe, it, expect = test.describe, test.it, test.expect

describe("volume-local", function()
  test.before_each(function()
    test.image "a:1"
    expect(test.load "."):to_match { name = "volume-local", status = "running" }
  end)

  local function use(name)
    return container.run { image = "a:1", mounts = { { type = "volume", source = name, target = "/data" } } }
  end

  it("makes a folder named by the volume's id, once", function()
    volume.create "data"
    use "data"
    use "data"
    expect(volume.get("data"):usage().enforced):to_be_false()
  end)

  it("remembers a size and doesn't enforce it", function()
    local data = volume.create("data", { size = "1GiB" })
    expect(data:usage()):to_match { limit = 2 ^ 30, enforced = false }
  end)

  it("removes the folder", function()
    volume.create("data"):remove()
    expect(volume.list()):to_equal {}
    expect(function() volume.get "data" end):to_raise "not_found"
  end)

  it("names an unknown option", function()
    expect(function() volume.create("data", { options = { moed = "0700" } }) end):to_raise {
      code = "invalid_argument", hint = "known: mode",
    }
    expect(function() volume.create("data", { options = { mode = "rwx" } }) end):to_raise "is not a file mode"
    expect(volume.find "data"):to_be_nil()
  end)

  it("passes on that the disk is full", function()
    test.fail("fs.mkdir", "resource_exhausted", { message = "no space left" })
    expect(function() volume.create "data" end):to_raise "no space left"
    expect(volume.list()):to_equal {}
  end)
end)
