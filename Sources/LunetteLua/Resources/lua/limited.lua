-- What code in a limited state (a plugin) sees: no io, os, debug or package, text chunks only, library tables and shared metatables
-- closed to writing. C functions that the count hook can't interrupt count their own work (bridge_bounded.c, bridge_patterns.c).

local core = ...
local host = core.host
local host_call = host.call
local raw_load, raw_setmetatable = host.load, setmetatable
local raw_rep, raw_concat = string.rep, table.concat
local type, error, next, tostring, rawget, rawset = type, error, next, tostring, rawget, rawset
local tointeger = math.tointeger
local pcall, pack, unpack = pcall, table.pack, table.unpack

local limited = {}
local largest_string = 16 * 1024 * 1024

local function bound_strings()
  string.dump = nil
  string.rep = function(s, n, separator)
    local text, between = tostring(s), separator and tostring(separator) or ""
    if type(s) ~= "string" and type(s) ~= "number" then return raw_rep(s, n, separator) end
    local count = tointeger(n) or tointeger(tonumber(n))
    if not count then return raw_rep(s, n, separator) end
    local unit = #text + #between
    if count <= 0 or unit == 0 then return "" end
    if count > largest_string // unit then error("resulting string too large: 16 MiB is the most that one may have here", 2) end
    return raw_rep(text, count, between)
  end
end

local function set_base()
  for _, name in next, { "dofile", "loadfile", "warn" } do _G[name] = nil end
  load = raw_load
  -- Lua runs a message handler where the error was raised; inside the count hook that is out of the limits' reach.
  xpcall = function(f, handler, ...)
    local results = pack(pcall(f, ...))
    if results[1] then return unpack(results, 1, results.n) end
    local _, message = pcall(handler, results[2])
    return false, message
  end
  -- Finalizers run where no limit reaches them.
  setmetatable = function(value, meta)
    if type(meta) == "table" and rawget(meta, "__gc") ~= nil then error("__gc is not for limited code", 2) end
    return raw_setmetatable(value, meta)
  end
  print = function(...)
    local parts = pack(...)
    for index = 1, parts.n do parts[index] = tostring(parts[index]) end
    local text = raw_concat(parts, "\t")
    if not (core.say and core.say(text)) then host_call("log", "info", text, {}) end
  end
  local loaded = { lunette = core.lunette }
  require = function(name)
    if type(name) ~= "string" then error("require: expected a module's name", 2) end
    if loaded[name] ~= nil then return loaded[name] end
    local source = core.call_for("require", "module", name)
    if not source then error("module '" .. name .. "' not found beside this code", 2) end
    local f, problem = raw_load(source, "@" .. name .. ".lua", "t")
    if not f then error(problem, 0) end
    local value = f(name)
    loaded[name] = value == nil and true or value
    return loaded[name]
  end
end

local function frozen(library, name)
  return raw_setmetatable({}, {
    __index = library,
    __newindex = function() error(name .. " can't be written here", 2) end,
    __pairs = function() return function(_, key) return next(library, key) end end,
    __metatable = false,
  })
end

function limited.open()
  bound_strings()
  set_base()
  host.string_metatable().__metatable = false
  for _, name in next, { "string", "table", "math", "utf8", "coroutine" } do
    _G[name] = frozen(_G[name], name)
  end
  lunette = core.lunette
  -- Made when they are first named: most code needs none of them.
  raw_setmetatable(_G, {
    __index = function(globals, name)
      if not core.need("library").globals[name] then return nil end
      local value = core.lunette[name]
      rawset(globals, name, value)
      return value
    end,
    __metatable = false,
  })
end

return limited
