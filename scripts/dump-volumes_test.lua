-- dump-volumes.lua: what the containers are doing while a volume is copied, and what is kept.
local lunette = require "lunette"
local test, fs, container, volume = lunette.test, lunette.fs, lunette.container, lunette.volume
local describe, it, expect = test.describe, test.it, test.expect

describe("dump-volumes.lua", function()
  local folder, seen

  -- A copy writes one file, and notes how the containers are meanwhile.
  local function play_copies()
    seen = {}
    test.stub("container.copy_out", function(call)
      for _, c in ipairs(container.list { all = true }) do
        local info = c:inspect()
        if info.labels["dump.reader"] then
          expect(info.spec.mounts[1]):to_match { target = "/volume", readonly = true }
          expect(call.source):to_be "/volume"
          expect(call.options and call.options.archive or call.archive):to_be_true()
        else
          seen[info.name] = info.status
        end
      end
      fs.mkdir(call.destination)
      fs.write(call.destination .. "/data", "rows")
    end)
  end

  local function run(name, of, labels)
    return container.run {
      name = name, image = "db:1", labels = labels,
      mounts = of and { { type = "volume", source = of, target = "/data" } },
    }
  end

  local function dump(...) return test.load("dump-volumes.lua", folder, "busybox:1", ...) end

  local function states()
    local list = {}
    for _, c in ipairs(container.list { all = true }) do list[c.name] = c:inspect().status end
    return list
  end

  local function calls(pattern)
    local list = {}
    for _, call in ipairs(test.events { kind = "call" }) do
      if call.name:match(pattern) then list[#list + 1] = call.name:match "%.(.*)" end
    end
    return list
  end

  test.before_each(function()
    folder = fs.temporary() .. "/dumps"
    test.image "db:1"
    test.image "busybox:1"
    play_copies()
  end)

  it("pauses all that use the volume, and nobody else", function()
    volume.create("rows", { labels = { dump = "pause" } })
    run("db", "rows")
    run("web", "rows")
    run "other"
    local script = dump()
    expect(script.error):to_be_nil()
    expect(seen):to_equal { db = "paused", web = "paused", other = "running" }
    expect(states()):to_equal { db = "running", web = "running", other = "running" }
    expect(fs.list(folder .. "/rows")):to_have_length(1)
    local name = fs.list(folder .. "/rows")[1]
    expect(name):to_match "^2026%-01%-01T00%-00%-0%dZ$"
    expect(fs.read(folder .. "/rows/" .. name .. "/data")):to_be "rows"
    expect(script.output):to_contain("dumped    rows/" .. name)
  end)

  it("stops them where the label says so", function()
    volume.create("rows", { labels = { dump = "stop" } })
    run("db", "rows")
    expect(dump().ok):to_be_true()
    expect(seen):to_equal { db = "stopped" }
    expect(states()):to_equal { db = "running" }
    expect(calls "^container%.[srpc]"):to_equal {
      "run", "run", "stop", "copy_out", "start", "remove",
    }
  end)

  it("leaves them alone where the label says so", function()
    volume.create("rows", { labels = { dump = "live" } })
    run("db", "rows")
    expect(dump().ok):to_be_true()
    expect(seen):to_equal { db = "running" }
    expect(calls "^container%.[srpc]"):to_equal { "run", "run", "copy_out", "remove" }
  end)

  it("tells them before and after, in their own words", function()
    volume.create("rows", { labels = { dump = "pause" } })
    run("db", "rows", { ["dump.before"] = "db lock", ["dump.after"] = "db unlock" })
    local told = {}
    test.exec("db", "db *", function(start)
      told[#told + 1] = start.args[3] .. " " .. container.get("db"):inspect().status
      return { code = 0 }
    end)
    expect(dump().ok):to_be_true()
    expect(told):to_equal { "db lock running", "db unlock running" }
    expect(calls "^container%.[eprc]"):to_equal {
      "run", "run", "exec", "pause", "copy_out", "resume", "exec", "remove",
    }
  end)

  it("leaves alone what doesn't run, and volumes without the label", function()
    volume.create("rows", { labels = { dump = "stop" } })
    volume.create "plain"
    run("db", "rows"):stop()
    run("web", "rows"):pause()
    run("other", "plain")
    expect(dump().ok):to_be_true()
    expect(states()):to_equal { db = "stopped", web = "paused", other = "running" }
    expect(fs.list(folder)):to_equal { "rows" }
  end)

  it("lets all go on when a copy fails, keeps no half of it, and dumps the others", function()
    volume.create("a", { labels = { dump = "pause" } })
    volume.create("b", { labels = { dump = "pause" } })
    run("db", "a")
    test.fail("container.copy_out", "io", { times = 1, message = "no space left" })
    local script = dump()
    expect(script.code):to_be(1)
    expect(script.output):to_match "FAILED    a: .*no space left"
    expect(states()):to_equal { db = "running" }
    expect(fs.list(folder .. "/a")):to_equal {}
    expect(fs.list(folder .. "/b")):to_have_length(1)
  end)

  it("lets the first go on when the second can't be paused", function()
    volume.create("rows", { labels = { dump = "pause" } })
    run("db", "rows")
    run("web", "rows")
    test.fail("container.pause", "io", { after = 1, message = "the cgroup is gone" })
    expect(dump().code):to_be(1)
    expect(states()):to_equal { db = "running", web = "running" }
    expect(seen):to_equal {}
  end)

  it("lets all go on when it is interrupted, and dumps no more", function()
    volume.create("a", { labels = { dump = "pause" } })
    volume.create("b", { labels = { dump = "pause" } })
    run("db", "a")
    test.stub("container.copy_out", function() lunette.task.sleep "1h" end)
    local script = test.load("dump-volumes.lua", {
      args = { folder, "busybox:1" }, background = true,
    })
    test.clock.advance "1m"
    expect(container.get("db"):inspect().status):to_be "paused"
    script:stop()
    script:wait()
    expect(states()):to_equal { db = "running" }
    expect(calls "^container%.copy_out"):to_have_length(1)
    expect(script.output):to_be ""
  end)

  it("doesn't dump what couldn't be told", function()
    volume.create("rows", { labels = { dump = "pause" } })
    run("db", "rows", { ["dump.before"] = "db lock", ["dump.after"] = "db unlock" })
    test.exec("db", "db lock", { code = 3 })
    test.exec("db", "db unlock", { code = 0 })
    expect(dump().code):to_be(1)
    expect(fs.list(folder .. "/rows")):to_equal {}
    expect(calls "^container%.exec"):to_have_length(2) -- it may be half locked
  end)

  it("keeps the newest, and files that aren't its own", function()
    volume.create("rows", { labels = { dump = "" } })
    fs.mkdir(folder .. "/rows/partial/x", { parents = true }) -- of a run that was killed
    fs.write(folder .. "/rows/README", "mine")
    local times = {}
    for day = 1, 4 do
      expect(dump("--keep", "2").ok):to_be_true()
      local names = fs.list(folder .. "/rows")
      times[day] = names[#names - 1]
      test.clock.advance "1d"
    end
    expect(fs.list(folder .. "/rows")):to_equal { times[3], times[4], "README" }
    expect(times[4]):to_match "^2026%-01%-04T"
  end)

  it("stays for its hours", function()
    volume.create("rows", { labels = { dump = "pause" } })
    local script = test.load("dump-volumes.lua", {
      args = { folder, "busybox:1", "--at", "0 3 * * *" }, background = true,
    })
    expect(fs.exists(folder)):to_be_false()
    test.clock.advance "27h"
    expect(fs.list(folder .. "/rows")):to_have_length(2)
    expect(script.is_running):to_be_true()
    script:stop()
  end)

  it("refuses a label that says nothing it knows", function()
    volume.create("rows", { labels = { dump = "freeze" } })
    local script = dump()
    expect(script.code):to_be(1)
    expect(script.output):to_contain "the label is dump=pause, stop or live, not freeze"
  end)

  it("wants a folder, an image and a number", function()
    expect(tostring(test.load("dump-volumes.lua", folder).error)):to_match "^usage: "
    local script = test.load("dump-volumes.lua", folder, "busybox:1", "--keeps", "3")
    expect(tostring(script.error)):to_match "%-%-keeps is no option"
    expect(tostring(dump("--keep", "0").error)):to_match "^usage: "
    expect(tostring(dump("--keep", "many").error)):to_match "^usage: "
  end)
end)
