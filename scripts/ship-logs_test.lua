-- ship-logs.lua: which lines come, in which form, and that none comes twice or is left out.
local lunette = require "lunette"
local test, fs, container, json = lunette.test, lunette.fs, lunette.container, lunette.json
local describe, it, expect = test.describe, test.it, test.expect

describe("ship-logs.lua", function()
  local file, script

  local function ship(...)
    script = test.load("ship-logs.lua", { args = { file, ... }, background = true })
    test.clock.advance "2s"
  end

  local function run(name, labels)
    return container.run { name = name, image = "web:1", labels = labels }
  end

  local function shipped()
    test.clock.advance "2s"
    local list = {}
    if not fs.exists(file) then return list end
    for line in fs.read(file):gmatch "[^\n]+" do
      local entry = json.decode(line)
      list[#list + 1] = ("%s %s %s"):format(entry.container, entry.stream, entry.line)
    end
    return list
  end

  test.before_each(function()
    file = fs.temporary() .. "/all.log"
    test.image "web:1"
  end)

  it("ships what is there and what comes, by stream", function()
    test.program("old", { code = 0, stdout = "one\n\ntwo words \"so\"\n", stderr = "oh\n" })
    test.program("new", { after = "10s", stdout = "three\n" })
    local old = run "old"
    ship()
    local first = shipped()
    table.sort(first)
    expect(first):to_equal {
      "old stderr oh", "old stdout ", "old stdout one", 'old stdout two words "so"',
    }
    run "new"
    test.clock.advance "20s"
    expect(shipped()[5]):to_be "new stdout three"
    local entry = json.decode(fs.read(file):match "[^\n]+")
    expect(entry):to_match { id = old.id:sub(1, 12), container = "old" }
    expect(entry.time):to_match "^2026%-01%-01T00:00:0%d%.%d+Z$"
  end)

  it("goes on in the next run of a container, without the lines of the last", function()
    local n = 0
    test.program("web", function()
      n = n + 1
      return { after = "1s", stdout = ("run %d\nsame\n"):format(n) }
    end)
    ship()
    local c = run "web"
    test.clock.advance "5s"
    c:start()
    test.clock.advance "5s"
    expect(shipped()):to_equal {
      "web stdout run 1", "web stdout same", "web stdout run 2", "web stdout same",
    }
  end)

  it("goes on where it was, also among lines of the same moment", function()
    test.program("web", { stdout = "a\nb\nc\n" })
    run "web"
    ship()
    expect(shipped()):to_have_length(3)
    script:stop()
    run "web2"
    test.program("web2", { code = 0 })
    ship()
    expect(shipped()):to_have_length(3)
    script:stop()
    -- what a crash after the first line of three leaves
    local positions = json.decode(fs.read(file .. ".positions"))
    for _, at in pairs(positions) do at.count = 1 end
    fs.write(file .. ".positions", json.encode(positions))
    ship()
    expect(shipped()):to_equal {
      "web stdout a", "web stdout b", "web stdout c", "web stdout b", "web stdout c",
    }
  end)

  it("ships what has the label alone", function()
    test.program(nil, { code = 0, stdout = "hello\n" })
    run("before", { ship = "yes" })
    run "not-before"
    ship("--label", "ship")
    run("after", { ship = "" })
    run "not-after"
    expect(shipped()):to_equal { "before stdout hello", "after stdout hello" }
  end)

  it("writes what it has when it is interrupted", function()
    test.program("web", { stdout = "last words\n" })
    ship()
    run "web"
    script:stop()
    script:wait()
    expect(fs.exists(file)):to_be_true()
    expect(shipped()):to_equal { "web stdout last words" }
  end)

  it("forgets what was removed", function()
    test.program("*", { code = 0, stdout = "hello\n" })
    ship()
    local gone, kept = run "gone", run "kept"
    test.clock.advance "2s"
    gone:remove()
    kept:start() -- something to write the positions for
    test.clock.advance "2s"
    local positions = json.decode(fs.read(file .. ".positions"))
    expect(positions[gone.id .. "/stdout"]):to_be_nil()
    expect(positions[kept.id .. "/stdout"]):to_be_a "table"
  end)

  it("wants a file", function()
    expect(tostring(test.load("ship-logs.lua").error)):to_match "^usage: "
  end)
end)
