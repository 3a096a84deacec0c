-- Calls to the host, from the task that runs.

local core = ...
local WAIT, host_call = core.host.WAIT, core.host.call
local make_error, is_error, wait, cancel_call = core.make_error, core.is_error, core.wait, core.cancel_call
local error, pcall = error, pcall

local function named(operation, ok, ...)
  if ok then return ... end
  local e = ...
  if is_error(e) and not e.operation then e.operation = operation end
  error(e, 0)
end

local function finish_call(operation, ok, first, ...)
  if not ok then error(make_error(first, operation), 0) end
  if first ~= WAIT then return first, ... end
  local token = ...
  if operation then return named(operation, pcall(wait, token, cancel_call)) end
  return wait(token, cancel_call)
end

-- Raises where code is loaded that may have no effects.
local function refuse_effects(operation, what)
  if core.is_loading then core.need("effects").refuse(operation, what) end
end
core.refuse_effects = refuse_effects

-- Calls the host for the task that runs; for a prompt that only reads it says so.
local function ask_host(...)
  local t = core.current()
  local prompt = t and t.line and t.line.prompt
  if prompt and prompt.only_reads then return host_call("as_reader", ...) end
  return host_call(...)
end
core.ask_host = ask_host

-- Calls the host; waits when it says so.
function core.call(operation, ...)
  refuse_effects(operation, operation)
  return finish_call(nil, pcall(ask_host, operation, ...))
end

-- As `call`; errors say that they come from `operation`.
function core.call_for(operation, what, ...)
  refuse_effects(operation, what)
  return finish_call(operation, pcall(ask_host, what, ...))
end
