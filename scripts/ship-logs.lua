#!/usr/bin/env lunette
-- Ships what all containers write to one file, a JSON object a line: those that are there and those
-- that come; with --label KEY only those that have the label. When it is started again it goes on
-- where it was: a line may come twice after a crash, none is left out. The file may be rotated.
-- usage: ship-logs.lua FILE [--label KEY]      See docs/scripts.md.
local lunette = require "lunette"
local container, fs, task, json = lunette.container, lunette.fs, lunette.task, lunette.json

local file, label
do
  local i = 1
  while arg[i] do
    if arg[i] == "--label" then
      label, i = arg[i + 1], i + 1
    else
      file = arg[i]
    end
    i = i + 1
  end
end
if not file then error("usage: ship-logs.lua FILE [--label KEY]", 0) end

-- By container and stream: the time of the last line, and how many of that very time there were.
local place = file .. ".positions"
local positions = fs.exists(place) and json.decode(fs.read(place)) or {}
local pending = {}

-- First the lines, then how far they go.
local function flush()
  if #pending == 0 then return end
  local text, reached = table.concat(pending), json.encode(positions)
  pending = {}
  fs.write(file, text, { append = true, mode = "0600" })
  fs.write(place .. ".new", reached, { mode = "0600" })
  fs.rename(place .. ".new", place)
end

local function read(c, stream)
  local key = c.id .. "/" .. stream
  local at = positions[key] or { time = "", count = 0 }
  local seen = 0 -- of the lines with the time `at.time`: so many were shipped before
  local options = { timestamps = true, stdout = stream == "stdout", stderr = stream == "stderr" }
  for line in c:follow_logs(options) do
    local time, text = line:match "^(%S+) ?(.*)$"
    seen = time == at.time and seen + 1 or 0
    if time > at.time or time == at.time and seen > at.count then
      at = { time = time, count = time > at.time and 1 or seen }
      seen = at.count
      positions[key] = at
      pending[#pending + 1] = json.encode {
        time = time, container = c.name, id = c.id:sub(1, 12), stream = stream, line = text,
      } .. "\n"
    end
  end
end

-- A log ends with its container's run; the next run goes on in the same log.
local following = {}

local function follow(c)
  for _, stream in ipairs { "stdout", "stderr" } do
    local key = c.id .. "/" .. stream
    if following[key] then
      following[key] = "again"
    else
      task.spawn(function()
        repeat
          following[key] = "now"
          local ok, err = lunette.try(read, c, stream)
          if not ok and err.code ~= "not_found" then error(err, 0) end
        until following[key] ~= "again"
        following[key] = nil
      end)
    end
  end
end

local match = label and { labels = { [label] = lunette.null } } or nil
lunette.on("container.started", { match = match }, function(ev) follow(ev.container) end)
lunette.on("container.removed", function(ev)
  positions[ev.target.id .. "/stdout"], positions[ev.target.id .. "/stderr"] = nil, nil
end)
for _, c in ipairs(container.list { all = true, labels = match and match.labels }) do follow(c) end

task.every("1s", flush)
local _, why = lunette.try(lunette.stay)
task.shield(flush)
error(why, 0)
