-- What code in a limited state (a plugin) sees: no io, os, debug or package, text chunks only, C functions that the count hook
-- can't interrupt bounded, library tables and shared metatables closed to writing.

local core = ...
local host = core.host
local host_call = host.call
local raw_load, raw_setmetatable, raw_collectgarbage = load, setmetatable, collectgarbage
local raw_rep, raw_concat, raw_move, raw_insert, raw_remove, raw_sort =
  string.rep, table.concat, table.move, table.insert, table.remove, table.sort
local type, error, select, next, tostring, rawget = type, error, select, next, tostring, rawget
local tointeger = math.tointeger
local pcall, pack, unpack = pcall, table.pack, table.unpack

local limited = {}
local largest_string, largest_range = 16 * 1024 * 1024, 1000000

local function bound(from, to, what)
  if to - from > largest_range then error(what .. ": a range of more than " .. largest_range .. " items", 3) end
end

local function bound_strings()
  string.dump = nil
  string.rep = function(s, n, separator)
    local text, between = tostring(s), separator and tostring(separator) or ""
    if type(s) ~= "string" and type(s) ~= "number" then return raw_rep(s, n, separator) end
    local count = tointeger(n) or tointeger(tonumber(n))
    if not count then return raw_rep(s, n, separator) end
    local unit = #text + #between
    if count <= 0 or unit == 0 then return "" end
    if count > largest_string // unit then error("resulting string too large", 2) end
    return raw_rep(text, count, between)
  end
end

local function bound_tables()
  table.concat = function(list, separator, from, to)
    from, to = from or 1, to or #list
    bound(from, to, "concat")
    return raw_concat(list, separator, from, to)
  end
  table.move = function(list, from, to, at, target)
    bound(from, to, "move")
    return raw_move(list, from, to, at, target or list)
  end
  table.insert = function(list, ...)
    if select("#", ...) > 1 then bound((...), #list, "insert") end
    return raw_insert(list, ...)
  end
  table.remove = function(list, ...)
    if select("#", ...) > 0 then bound((...), #list, "remove") end
    return raw_remove(list, ...)
  end
  table.sort = function(list, less)
    bound(1, #list, "sort")
    return raw_sort(list, less)
  end
end

local function set_base()
  for _, name in next, { "dofile", "loadfile", "warn" } do _G[name] = nil end
  load = function(chunk, name, _, ...)
    if type(name) == "string" and name:find("[lunette", 1, true) then name = nil end
    if select("#", ...) > 0 then return raw_load(chunk, name, "t", (...)) end
    return raw_load(chunk, name, "t")
  end
  collectgarbage = function(what)
    if what == "count" then return raw_collectgarbage("count") end
    if what == nil or what == "collect" then return raw_collectgarbage("collect") end
    error("collectgarbage: only \"count\" and \"collect\" here", 2)
  end
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
    local parts = {}
    for index = 1, select("#", ...) do parts[index] = tostring((select(index, ...))) end
    local text = raw_concat(parts, "\t")
    if not (core.say and core.say(text)) then host_call("log", "info", text, {}) end
  end
  local loaded = { lunette = core.lunette }
  require = function(name)
    if type(name) ~= "string" then error("require: expected a module's name", 2) end
    if loaded[name] ~= nil then return loaded[name] end
    local source = host_call("module", name)
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
    __pairs = function() return next, library, nil end,
    __metatable = false,
  })
end

function limited.open()
  bound_strings()
  bound_tables()
  set_base()
  host.string_metatable().__metatable = false
  for _, name in next, { "string", "table", "math", "utf8", "coroutine" } do
    _G[name] = frozen(_G[name], name)
  end
  lunette = core.lunette
  for _, name in next, { "fs", "json", "log", "task" } do _G[name] = core.lunette[name] end
  getmetatable(core.lunette).__metatable = false
end

return limited
