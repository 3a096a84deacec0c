#!/usr/bin/env lunette
-- Dumps each volume that has the label `dump` to FOLDER/VOLUME/TIME, as it was at one moment: the
-- containers that use it are paused (dump=pause), stopped (dump=stop) or left alone (dump=live)
-- meanwhile, and may be told before and after (labels dump.before, dump.after: a command of
-- theirs). Keeps the newest. IMAGE: any with `sleep`. See docs/scripts.md.
-- usage: dump-volumes.lua FOLDER IMAGE [--keep NUMBER] [--at "MINUTE HOUR DAY MONTH WEEKDAY"]
local lunette = require "lunette"
local container, volume, fs, task = lunette.container, lunette.volume, lunette.fs, lunette.task

local MODES = { pause = true, stop = true, live = true }
local FORM, PATTERN = "!%Y-%m-%dT%H-%M-%SZ", "^%d%d%d%d%-%d%d%-%d%dT%d%d%-%d%d%-%d%dZ$"

local words, options =
  require("arguments").read(arg, "dump-volumes.lua", { keep = "7", at = false })
local folder, image, keep = words[1], words[2], math.tointeger(tonumber(options.keep))
if not image or not keep or keep < 1 then
  error("usage: dump-volumes.lua FOLDER IMAGE [--keep NUMBER] [--at CRON]", 0)
end

local function say(format, ...) print(string.format(format, ...)) end

-- What undoes it is put on `undo` before the next thing is done: a failure anywhere leaves nothing
-- paused or stopped.
local function hold_still(c, mode, undo)
  local info = c:inspect()
  if info.status ~= "running" then return end
  local before, after = info.labels["dump.before"], info.labels["dump.after"]
  if after then undo[#undo + 1] = function() c:exec(after, { check = true, timeout = "5m" }) end end
  if before then c:exec(before, { check = true, timeout = "5m" }) end
  if mode == "pause" then
    undo[#undo + 1] = function() c:resume() end
    c:pause()
  elseif mode == "stop" then
    undo[#undo + 1] = function() c:start() end
    c:stop()
  end
end

-- In reverse, all of it, also when the script is being interrupted.
local function let_go(undo)
  task.shield(function()
    for i = #undo, 1, -1 do
      local ok, err = lunette.try(undo[i])
      if not ok and err.code ~= "invalid_state" then io.stderr:write(err.message, "\n") end
    end
  end)
end

local function copy(v, mode, target)
  -- Reads the volume for us. It runs before anybody is held still, to keep that short.
  local reader = container.run {
    image = image, entrypoint = {}, args = { "sleep", "86400" }, user = "0:0", network = "none",
    lifetime = "script", labels = { ["dump.reader"] = v.name }, stop = { grace_period = 0 },
    mounts = { { type = "volume", source = v.name, target = "/volume", readonly = true } },
  }
  local undo = { function() reader:remove { force = true } end }
  local began
  local ok, err = lunette.try(function()
    for _, c in ipairs(v:users()) do
      if c.id ~= reader.id then hold_still(c, mode, undo) end
    end
    began = lunette.clock()
    reader:copy_out("/volume", target, { archive = true })
  end)
  let_go(undo)
  if not ok then error(err, 0) end
  return lunette.clock() - began
end

local function rotate(place)
  local dumps = {}
  for _, name in ipairs(fs.list(place)) do -- sorted, so by time
    if name:match(PATTERN) then dumps[#dumps + 1] = name end
  end
  for i = 1, #dumps - keep do fs.remove(place .. "/" .. dumps[i], { recursive = true }) end
end

local function dump(v)
  local mode = v:inspect().labels.dump
  if mode == "" then mode = "pause" end
  if not MODES[mode] then error("the label is dump=pause, stop or live, not " .. mode, 0) end
  local place = folder .. "/" .. v.name
  fs.mkdir(place, { parents = true, mode = "0700" })
  -- Only what is whole gets its name; what a killed run has left goes.
  local partial = place .. "/partial"
  fs.remove(partial, { recursive = true })
  local took = copy(v, mode, partial)
  local name = os.date(FORM, math.floor(lunette.now()))
  fs.rename(partial, place .. "/" .. name)
  rotate(place)
  say("dumped    %s/%s  %d bytes on disk, copied in %.1f s", v.name, name,
    fs.usage(place .. "/" .. name).used, took)
end

local function dump_all()
  local failed = 0
  for _, v in ipairs(volume.list { labels = { dump = lunette.null } }) do
    local ok, err = lunette.try(dump, v)
    if not ok and err.code == "cancelled" then error(err, 0) end
    if not ok then
      failed = failed + 1
      say("FAILED    %s: %s", v.name, err.message)
    end
  end
  return failed
end

if options.at then
  task.cron(options.at, { name = "dump-volumes" }, dump_all)
  lunette.stay()
elseif dump_all() > 0 then
  os.exit(1)
end
