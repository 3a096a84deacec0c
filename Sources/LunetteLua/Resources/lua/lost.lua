-- Tasks of code that has no end, that failed and that nobody awaited: the log is told. It keeps nothing (core.lua, `keeps_nothing`).

local core = ...
local host_call, next, pcall = core.host.call, next, pcall

local lost = {}

local function log_unclaimed(t)
  if not t.reports then return end
  t.reports = false
  core.need "script"
  local record = core.report(t)
  pcall(host_call, "log", "error", "a task failed that nobody awaited: " .. record.message, { hint = record.hint })
end

-- When whoever spawned it has ended without awaiting it, or doesn't for a while.
function lost.note(t)
  local parent = t.parent
  if parent and parent.state == "ready" then
    parent.unclaimed = parent.unclaimed or {}
    parent.unclaimed[t] = true
    local has_timer = pcall(core.spawn, {}, function()
      core.call("sleep", core.close_grace)
      if parent.unclaimed then parent.unclaimed[t] = nil end
      log_unclaimed(t)
    end)
    if has_timer then return end
  end
  log_unclaimed(t)
end

-- Of those that a task that has ended had spawned.
function lost.tell_of(parent)
  for t in next, parent.unclaimed do log_unclaimed(t) end
  parent.unclaimed = nil
end

return lost
