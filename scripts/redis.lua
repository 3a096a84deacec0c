#!/usr/bin/env lunette
-- A database that outlives its container: pulls a Redis image with progress, runs it under a
-- memory limit on a named volume, writes keys, kills it with SIGKILL, starts a new one on the same
-- volume and finds the keys, while the image is what it was. See docs/scripts.md.
-- usage: lunette scripts/redis.lua IMAGE [--username NAME --password WORD] [--plain-http]
local lunette = require "lunette"
local image, container, volume = lunette.image, lunette.container, lunette.volume
local task = lunette.task

local reference, options = nil, {}
do
  local i = 1
  while arg[i] do
    if arg[i] == "--plain-http" then
      options.tls = false
    elseif arg[i] == "--username" or arg[i] == "--password" then
      options[arg[i]:sub(3)] = arg[i + 1]
      i = i + 1
    else
      reference = arg[i]
    end
    i = i + 1
  end
end
if not reference then
  error("usage: redis.lua IMAGE [--username NAME --password WORD] [--plain-http]", 0)
end

local NAME, VOLUME = "example-redis", "example-redis-data"
local KEYS = { greeting = "hello from Lunette", colour = "green", answer = "42" }

local function say(format, ...) print(string.format(format, ...)) end

local function clean_up()
  local c = container.find(NAME)
  if c then c:remove { force = true } end
  local v = volume.find(VOLUME)
  if v then v:remove() end
end

-- Redis answers when PING brings PONG: asked again until it does.
local function wait_until_ready(c)
  task.timeout("20s", function()
    while c:exec({ "redis-cli", "ping" }).stdout ~= "PONG\n" do task.sleep("50ms") end
  end)
end

local function run()
  local c = container.run {
    name = NAME,
    image = reference,
    args = {
      "redis-server", "--dir", "/data", "--save", "", "--appendonly", "yes",
      "--appendfsync", "always",
    },
    user = "redis",
    mounts = { { type = "volume", source = VOLUME, target = "/data" } },
    resources = { memory = "128MiB", pids = 64 },
  }
  wait_until_ready(c)
  return c
end

clean_up()

-- 1. pull, saying now and then how far it is
local told = {}
options.progress = function(p)
  local percent = p.total and p.total > 0 and math.floor(p.current / p.total * 100) or 0
  local key = p.phase .. (p.digest or "")
  if told[key] == nil or percent >= told[key] + 50 then
    told[key] = percent
    say("pull      %-10s %-19s %3d %%", p.phase, (p.digest or ""):sub(1, 19), percent)
  end
end
local img = image.pull(reference, options)
local before = img:inspect()
say("pulled    %s  %.1f MB in %d layer(s)",
  before.digest:sub(1, 19), before.size / 1e6, #before.layers)

-- 2. run it on a volume and write keys; a file outside the volume belongs to the container alone
volume.create(VOLUME)
local first = run()
for key, value in pairs(KEYS) do
  first:exec({ "redis-cli", "set", key, value }, { check = true })
end
first:exec({ "sh", "-c", "echo scratch >/tmp/outside-the-volume" }, { check = true })
local limit = first:inspect().spec.resources.memory
say("running   %s  id %s  memory limit %.0f MiB", NAME, first.id:sub(1, 12), limit / 2 ^ 20)

-- 3. kill -9: no chance to save anything
first:kill("SIGKILL")
local exit = first:wait { timeout = "20s" }
say("killed    exit code %d, %s", exit.code, tostring(exit.signal))
assert(exit.signal == "SIGKILL" and exit.code == 137, "SIGKILL must show as such")
first:remove()

-- 4. a new container on the same volume has the keys, and not the other file
local second = run()
local found = 0
for key, value in pairs(KEYS) do
  local answer = second:exec({ "redis-cli", "get", key }, { check = true }).stdout
  assert(answer == value .. "\n", "key " .. key .. " came back as " .. answer)
  found = found + 1
end
say("found     %d of 3 keys in a new container, id %s", found, second.id:sub(1, 12))
local outside = second:exec({ "test", "-e", "/tmp/outside-the-volume" })
assert(outside.code == 1, "a file outside the volume must be gone with its container")
say("gone      the file outside the volume")

-- 5. containers never change their image
local after = image.get(reference):inspect()
assert(after.digest == before.digest and after.size == before.size, "the image has changed")
assert(#after.layers == #before.layers, "the image's layers have changed")
say("same      image %s", after.digest:sub(1, 19))

clean_up()
say("cleaned   container and volume are removed, the image is kept")
