-- coroutine functions through which waits pass; what the user sees of them is Lua's own behaviour.

local core = ...
local resume, raw_yield = core.host.resume, coroutine.yield
local create, running, status, close = coroutine.create, coroutine.running, coroutine.status, coroutine.close
local error, type = error, type

local function wrapped(co, ok, ...)
  if ok then return ... end
  local e = ...
  if status(co) == "suspended" then close(co) end
  if type(e) == "string" then error(e, 2) end
  error(e, 0)
end

coroutine.resume = resume
coroutine.wrap = function(f)
  local co = create(f)
  return function(...) return wrapped(co, resume(co, ...)) end
end
coroutine.yield = function(...)
  local t = core.current()
  if t and running() == t.co then error("attempt to yield from outside a coroutine", 2) end
  return raw_yield(...)
end
