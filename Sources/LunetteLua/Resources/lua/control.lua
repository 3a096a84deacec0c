-- What is done to tasks from outside: cancelling them, and waiting for their end. It keeps nothing (core.lua, `keeps_nothing`).

local core = ...
local is_closing, running = core.host.is_closing, coroutine.running
local spawn, wake, open, fail = core.spawn, core.wake, core.open, core.fail
local error, pcall, ipairs, unpack = error, pcall, ipairs, table.unpack

local control = {}

-- What a cancelled task's waits raise, as a record.
function control.cancelled_record(t)
  return { code = t.reason or "cancelled", message = t.reason_text or "the task was cancelled" }
end

-- Makes a cancelled task's wait raise now.
local function interrupt_wait(t)
  local token, abandon = t.token, t.abandon
  if not token then return end
  t.token, t.abandon = nil, nil
  if abandon then pcall(abandon, token) end
  wake(token, false, control.cancelled_record(t))
end

-- Whether a cancelled task may wait all the same: what closes has 10 s, counted from the first wait of a handler.
local function has_grace(t, co)
  if t.grace == "over" or not (is_closing(co) or co ~= t.co and is_closing(t.co)) then return false end
  if not t.grace then
    t.grace = "running"
    spawn({}, function()
      core.call("sleep", core.close_grace)
      t.grace = "over"
      interrupt_wait(t)
    end)
  end
  return true
end
control.has_grace = has_grace

-- A cancelled task's shields hold for 10 s.
local function limit_shields(t)
  if t.shield_guard then return end
  t.shield_guard = spawn({}, function()
    core.call("sleep", core.close_grace)
    t.shields = 0
    interrupt_wait(t)
  end)
end
control.limit_shields = limit_shields

-- Cancels a task: the wait it is in raises, and each later one.
function control.cancel(t, reason, text)
  if t.is_cancelled or t.state == "done" or t.state == "failed" then return false end
  t.is_cancelled, t.reason, t.reason_text = true, reason, text
  if t.shields > 0 then
    limit_shields(t)
    return true
  end
  if t.co ~= running() and has_grace(t, t.co) then return true end
  interrupt_wait(t)
  return true
end

-- Waits until a task has ended; its results or its error.
function control.join(t)
  if t == core.current() then fail("conflict", "a task can't await itself") end
  if t.state == "ready" or t.state == "running" then
    local token = core.token()
    t.joiners = t.joiners or {}
    t.joiners[#t.joiners + 1] = token
    core.wait(token)
  end
  t.reports = false
  for index, other in ipairs(open.failed) do
    if other == t then table.remove(open.failed, index) break end
  end
  if t.state == "done" then return unpack(t.results, 1, t.results.n) end
  error(t.error, 0)
end

return control
