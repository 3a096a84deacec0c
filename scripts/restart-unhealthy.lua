-- Resident: the lifecycle "restart-unhealthy" (lunette run --lifecycle restart-unhealthy …). What
-- became unhealthy, or failed, is started again after a pause that doubles with each failure in a
-- row; after eight it is left stopped. Copy it to /etc/lunette/conf.d. See docs/scripts.md.
local lunette = require "lunette"
local store, log = lunette.store, lunette.log

local FIRST, LONGEST = "1s", "2m" -- the pauses: 1 2 4 8 16 32 64 s, and none is longer than this
local LIMIT = 8                   -- so many failures in a row, and a human must look
local STABLE = "10m"              -- a run this long ends the row
local GRACE = "10s"               -- to end by itself, once it is unhealthy

-- By container: failures in a row, the last end counted, whether it was ended for its health.
local function notes() return store.open "restart-unhealthy" end

local function pause(failures)
  return math.min(lunette.seconds(FIRST) * 2 ^ (failures - 1), lunette.seconds(LONGEST))
end

lunette.lifecycle("restart-unhealthy", {
  unhealthy = function(c, failures)
    -- This may be told late or twice: what runs by now may be well.
    local info = c:inspect()
    if info.status ~= "running" or info.health.status ~= "unhealthy" then return end
    log.warn(c.name .. " is unhealthy", { checks = failures, message = info.health.message })
    notes():update(c.name, function(note)
      return lunette.merge(note or {}, { unhealthy = true })
    end)
    -- Not c:stop(): that is a user's word, and would hold. What hangs may not heed a SIGTERM.
    lunette.try(c.kill, c, "SIGTERM")
    local ended = lunette.try(c.wait, c, { timeout = GRACE })
    if not ended then lunette.try(c.kill, c, "SIGKILL") end
  end,

  exited = function(c, exit)
    local note = notes():get(c.name) or {}
    if exit.code == 0 and not note.unhealthy then
      notes():delete(c.name)
      return -- its restart policy holds
    end
    local failures = note.failures or 0
    if note.counted ~= exit.finished_at then -- else the engine died here, and asks again
      local started = c:inspect().started_at
      local ran = started and exit.finished_at - started or 0
      failures = ran >= lunette.seconds(STABLE) and 1 or failures + 1
    end
    notes():set(c.name, { failures = failures, counted = exit.finished_at })
    if failures >= LIMIT then
      log.error("given up on " .. c.name, { failures = failures, code = exit.code })
      notes():delete(c.name)
      return "keep"
    end
    return { restart = { after = pause(failures) } }
  end,

  removed = function(name) notes():delete(name) end,
})
