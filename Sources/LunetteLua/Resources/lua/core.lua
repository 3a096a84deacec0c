-- Opens the Lua host: the table that its modules share, how they are loaded, and what code of others sees at first. Runs once when a state
-- opens; its argument is the host's C functions. Waiting and tasks are in scheduler.lua, calls to the host in calls.lua.

local host = ...
local rawget, rawset = rawget, rawset

-- As Lua's, but for tables that can't be written: `ev.spec` has nothing of its own.
next = host.next

-- Lua's own globals, for modules that are loaded when code of others has run: what that has put in their place is not theirs. And it gets
-- no metatable of ours: a __gc in one that is used again would run where no limit reaches.
local pristine
if host.is_limited then
  local raw_setmetatable = setmetatable
  pristine = {}
  for name, value in next, _G do pristine[name] = value end
  pristine.getmetatable = host.metatable
  function pristine.setmetatable(value, meta)
    if rawget(meta, "__metatable") == nil then meta.__metatable = false end
    return raw_setmetatable(value, meta)
  end
end
local setmetatable = (pristine or _G).setmetatable

local core = { host = host, lunette = {}, entries = {}, is_limited = host.is_limited, close_grace = 10 }
core.handlers = {}       -- subscription → {kind, f}
core.running = {}        -- reply → the task that answers it
local lunette, entries = core.lunette, core.entries
lunette.null = host.null

---- modules ---------------------------------------------------------------------------------

-- Loads a module of the stdlib at its first use: opening a state must be fast. Limited states stay for weeks, a thousand in one process,
-- and have the code ready-made: there a module that keeps nothing goes with the garbage, and is loaded again when it is needed again.
local modules, passing = {}, setmetatable({}, { __mode = "v" })
local keeps_nothing = core.is_limited and {
  library = true, limited = true, subscriptions = true, replies = true, lost = true, options = true, entries = true, control = true,
  effects = true, lifecycles = true, tools = true, registration = true, blocking = true,
} or {}
function core.need(name)
  local module = modules[name] or passing[name]
  if module == nil then
    -- The one that changes what others see has to reach it.
    module = host.module(name, name ~= "limited" and pristine or nil)(core);
    (keeps_nothing[name] and passing or modules)[name] = module
  end
  return module
end

-- Lets go of a module that has done all it is for.
function core.forget(name) modules[name] = nil end

-- What each state needs at once, in this order; nobody asks for it again.
for _, name in next, { "errors", "scheduler", "calls", "coroutines" } do host.module(name, pristine)(core) end

---- names that are made when they are first used ----------------------------------------------

setmetatable(entries, {
  __index = function(_, name)
    local module = core.need("entries")[name]
    if not module then return nil end
    core.need(module)
    return rawget(entries, name)
  end,
})

setmetatable(lunette, {
  __index = function(_, name)
    local value = core.need("registration")[name]
    if value == nil then value = core.need("library").resolve(name) end
    if value ~= nil then rawset(lunette, name, value) end
    return value
  end,
  __pairs = function() return core.need("library").pairs() end,
})

if core.is_limited then
  core.need("limited").open()
end
return entries
