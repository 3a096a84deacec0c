-- Resident: four times a day removes containers that ended a week ago, and images that no
-- container has used for a month. What has the label `keep` stays, and what is in use or young.
-- Copy it to /etc/lunette/conf.d and run "lunette reload". See docs/scripts.md.
local lunette = require "lunette"
local container, image, task, store = lunette.container, lunette.image, lunette.task, lunette.store
local log = lunette.log

local EVERY = "6h"
local AGE = { containers = "7d", images = "30d" }

local function has_passed(since, age) return lunette.now() - since >= lunette.seconds(age) end

-- When an image was last used is known to nobody else: it is written down, by the image's id, in a
-- store that other scripts may read.
local function uses() return store.open "image-use" end
local function stamp(id) uses():set(id, lunette.now()) end

lunette.before("container.create", { name = "image-use", on_failure = "ignore" }, function(ev)
  local used = ev.spec.image and image.find(ev.spec.image)
  if used then stamp(used:inspect().id) end
end)

-- One failure (somebody else was quicker) doesn't end the work.
local function remove(what, name, f, ...)
  local ok, err = lunette.try(f, ...)
  if ok then
    log.info("removed " .. what .. " " .. name)
  elseif err.code ~= "not_found" then
    log.warn("can't remove " .. what .. " " .. name, { error = err.message })
  end
end

local function collect_containers()
  for _, c in ipairs(container.list { all = true, status = "stopped" }) do
    local ok, info = lunette.try(c.inspect, c)
    if ok and info.exit and not info.labels.keep and not info.restart_at
      and has_passed(info.exit.finished_at, AGE.containers) then
      remove("container", info.name, c.remove, c) -- without force: one that was started stays
    end
  end
end

local function collect_images()
  for _, c in ipairs(container.list { all = true }) do
    local ok, info = lunette.try(c.inspect, c)
    if ok and info.image and info.image.id then stamp(info.image.id) end
  end
  local there = {}
  for _, img in ipairs(image.list()) do
    local info = img:inspect()
    there[info.id] = true
    local used = uses():get(info.id)
    if not used then
      stamp(info.id) -- seen for the first time: its month begins
    elseif not info.labels.keep and has_passed(used, AGE.images) then
      -- One reference after the other, never by force: a container made meanwhile keeps its image.
      for _, ref in ipairs(#info.refs > 0 and info.refs or { info.id }) do
        remove("image", ref, image.remove, ref)
      end
    end
  end
  for _, id in ipairs(uses():list()) do
    if not there[id] then uses():delete(id) end
  end
end

local function collect()
  collect_containers()
  collect_images()
end

task.spawn(collect) -- at each start of the engine, which may be more often than that
task.every(EVERY, collect)
