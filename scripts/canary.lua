#!/usr/bin/env lunette
-- Canary comparison: runs containers of the image that is in use and of its next version side by
-- side, sends the same probe to all of them, and says whether the next one may take over.
-- usage: canary.lua OLD NEW (--exec "CMD" | --http PORT/PATH) [--old N] [--new M] [--rounds N]
--   [--period 1s] [--timeout 2s] [--ready 30s] [--slower 20] [-- PROGRAM…]  See docs/scripts.md.
local lunette = require "lunette"
local container, task = lunette.container, lunette.task

local words, options, program = require("arguments").read(arg, "canary.lua", {
  exec = false, http = false, old = "2", new = "1", rounds = "20", period = "1s", timeout = "2s",
  ready = "30s", slower = "20",
})
local function count(name)
  local number = math.tointeger(tonumber(options[name]))
  if not number or number < 1 then
    error("canary.lua: --" .. name .. " wants a number from 1", 0)
  end
  return number
end
if #words ~= 2 or (options.exec == nil) == (options.http == nil) then
  error('usage: canary.lua OLD NEW (--exec "CMD" | --http PORT/PATH) [OPTIONS] [-- PROGRAM…]', 0)
end
local rounds, slower = count "rounds", assert(tonumber(options.slower), "--slower wants a number")
local ready_within = lunette.seconds(options.ready)

-- The probe is a program in the container itself, so that none of them needs a network.
local probe = { "sh", "-c", options.exec }
if options.http then
  probe = { "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:" .. options.http }
end

-- What failed stays one probe's failure, but for Ctrl-C.
local function ask(c)
  local began = lunette.clock()
  local ran, result = lunette.try(c.exec, c, probe, { timeout = options.timeout })
  if not ran and result.code == "cancelled" then error(result, 0) end
  return ran and result.code == 0, lunette.clock() - began
end

local sides, all = {}, {}
for index, name in ipairs { "old", "new" } do
  local side = { name = name, image = words[index], failures = 0, times = {} }
  sides[index] = side
  for _ = 1, count(name) do
    all[#all + 1] = { side = side, start = function()
      return container.run {
        image = side.image, args = program, network = "none", labels = { canary = name },
        lifetime = "script", stop = { grace_period = 0 },
      }
    end }
  end
end

local function each(f)
  local list = {}
  for index, one in ipairs(all) do list[index] = function() return f(one) end end
  return task.all(list)
end

-- Both have as long to get ready; what isn't then is measured as it is.
each(function(one)
  one.container = one.start()
  local until_then = lunette.clock() + ready_within
  while not ask(one.container) and lunette.clock() < until_then do task.sleep "200ms" end
end)

for round = 1, rounds do
  if round > 1 then task.sleep(options.period) end
  each(function(one)
    local side, passed, seconds = one.side, ask(one.container)
    if passed then
      side.times[#side.times + 1] = seconds
    else
      side.failures = side.failures + 1
    end
  end)
end
each(function(one) one.container:remove { force = true } end)

-- The time that so many of a hundred probes took at most; nil where none passed.
local function percentile(times, percent)
  return times[math.max(1, math.ceil(#times * percent / 100))]
end

local function shown(seconds) return seconds and ("%.1f ms"):format(seconds * 1000) or "-" end

local row = "%-5s %-28s %8s %9s %10s %10s"
print(row:format("SIDE", "IMAGE", "PROBES", "FAILURES", "MEDIAN", "95 %"))
for _, side in ipairs(sides) do
  table.sort(side.times)
  side.probes = #side.times + side.failures
  side.median, side.slowest = percentile(side.times, 50), percentile(side.times, 95)
  print(row:format(side.name, side.image, side.probes, side.failures,
    shown(side.median), shown(side.slowest)))
end

local old, new = sides[1], sides[2]
local why
if new.failures == new.probes then
  why = "every probe of the new image failed"
elseif new.failures / new.probes > old.failures / old.probes then
  why = ("%.1f %% of its probes failed, %.1f %% of the old image's"):format(
    100 * new.failures / new.probes, 100 * old.failures / old.probes)
-- A few milliseconds are noise, however many percent of a short probe they are.
elseif old.median and new.median > old.median * (1 + slower / 100) + 0.005 then
  why = ("its median of %s is more than %g %% over %s"):format(
    shown(new.median), slower, shown(old.median))
elseif old.slowest and new.slowest > old.slowest * (1 + slower / 100) + 0.02 then
  why = ("of its probes 95 %% took up to %s, of the old image's %s"):format(
    shown(new.slowest), shown(old.slowest))
end
print(why and ("\nkeep %s: %s"):format(old.image, why) or ("\npromote %s"):format(new.image))
os.exit(why == nil)
