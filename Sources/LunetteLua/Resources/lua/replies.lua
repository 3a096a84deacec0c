-- What the engine asks of code that it holds, answered: by a task for each reply. It keeps nothing itself (core.lua, `keeps_nothing`).

local core = ...
local host, fail, spawn, running = core.host, core.fail, core.spawn, core.running
local control = core.need "control"
local host_call = host.call
local pcall, error, tostring = pcall, error, tostring

local replies = {}
function core.note_failed(t) core.need("lost").note(t) end

local function answer(reply, ok, value)
  local sent, problem = pcall(host_call, "reply", reply, ok, value)
  -- What the plugin returned may not be sendable (a function in it): that is its error.
  if not sent then host_call("reply", reply, false, core.make_error(problem)) end
end

local function record(problem)
  local e = core.make_error(problem)
  return { code = e.code, message = tostring(e), operation = e.operation, hint = e.hint, errno = e.errno, details = e.details }
end

-- Runs f in a task; its first result or its error goes to `reply`.
local function run(reply, timeout, f, ...)
  local t = spawn({}, f, ...)
  running[reply] = t
  local timer
  if timeout then
    timer = spawn({}, function()
      core.call("sleep", timeout)
      control.cancel(t, "timeout", "not done within " .. tostring(timeout) .. "s")
    end)
  end
  t.on_finish = function()
    running[reply] = nil
    if timer then control.cancel(timer) end
    if t.state == "done" then
      local value = t.results[1]
      if value == nil then value = host.null end
      answer(reply, true, value)
    else
      answer(reply, false, record(t.error))
    end
  end
  core.run_ready()
  return t
end
replies.run = run

-- Runs a chunk that has no effects but what it registers; its first result, or its error.
function replies.load(what, code)
  local f, problem = load(what.source, what.name, "t")
  if not f then fail(code, problem) end
  core.is_loading = true
  local ok, result = pcall(f)
  core.is_loading = false
  if not ok then error(result, 0) end
  return result
end

function core.entries.cancel_plugin_call(what)
  local t = running[what.reply]
  if t then core.need("control").cancel(t, "cancelled", "the call was cancelled") end
  core.run_ready()
end

return replies
