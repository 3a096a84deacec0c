-- What scripts see: `lunette` itself, log, json, fs, and how chunks are set up.

local core = ...
local lunette, host, fail = core.lunette, core.host, core.fail
local host_call = host.call
local type, tostring, pcall, setmetatable, next, select, table = type, tostring, pcall, setmetatable, next, select, table

local library = {}

---- lunette -----------------------------------------------------------------------------------

local functions = {}

local function tried(ok, ...)
  if ok then return true, ... end
  return false, core.make_error((...))
end

function functions.try(f, ...)
  if type(f) ~= "function" then fail("invalid_argument", "lunette.try: expected a function, got " .. type(f)) end
  return tried(pcall(f, ...))
end

function functions.inspect(value, options) return core.need("inspect").value(value, options) end
function functions.bytes(size) return core.call_for("lunette.bytes", "bytes", size) end
function functions.seconds(duration) return core.call_for("lunette.seconds", "seconds", duration) end
functions.clock, functions.now = host.clock, host.now

-- A new table: maps merged, lists and scalars of `b` in place of `a`'s; lunette.null deletes.
function functions.merge(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    fail("invalid_argument", "lunette.merge: expected two tables, got " .. type(a) .. " and " .. type(b))
  end
  return core.need("hooks").merge(a, b)
end

function functions.lifecycle(name, program) return core.need("subscriptions").lifecycle(name, program) end
function functions.events(options) return core.need("subscriptions").events(options) end
function functions.on(...) return core.need("subscriptions").on(...) end
function functions.before(...) return core.need("subscriptions").before(...) end
function functions.socket(...) return core.need("socket").declare(...) end

-- Holds the script: waits until it is interrupted.
function functions.stay()
  if host_call("stay") then core.wait(core.token()) end
end

function functions.require_api(version)
  if version ~= 1 then
    local message = "this Lunette has API 1, the script wants " .. tostring(version)
    fail("unsupported", message, { hint = "a newer Lunette may have it" })
  end
end

function functions.fail(code, message, fields)
  if type(code) ~= "string" or type(message) ~= "string" then
    fail("invalid_argument", "lunette.fail: expected a code and a message")
  end
  fail(code, message, fields)
end


---- log, json, fs -----------------------------------------------------------------------------

local log = {}
for _, level in next, { "debug", "info", "warn", "error" } do
  log[level] = function(message, fields)
    if fields ~= nil and type(fields) ~= "table" then fail("invalid_argument", "log." .. level .. ": fields must be a table") end
    core.call_for("log." .. level, "log", level, tostring(message), fields or {})
  end
end

local json = { null = host.null }
function json.encode(value, options)
  if value == nil then value = host.null end
  return core.call_for("json.encode", "json.encode", value, type(options) == "table" and options.pretty == true)
end
function json.decode(text)
  if type(text) ~= "string" then fail("invalid_argument", "json.decode: expected a string, got " .. type(text)) end
  return host.decode(core.call_for("json.decode", "json.decode", text))
end

local fs = {}
for _, verb in next, { "read", "write", "exists", "list", "temporary", "mkdir", "remove", "rename", "stat", "usage" } do
  local operation = "fs." .. verb
  fs[verb] = function(...)
    -- Trailing nils would be sent as arguments.
    local arguments = { ... }
    for index = 1, select("#", ...) do
      if arguments[index] == nil then arguments[index] = host.null end
    end
    return core.call_for(operation, operation, arguments)
  end
end

---- sandbox -----------------------------------------------------------------------------------

local sandbox = {}
function sandbox.run(options)
  local result = core.call_for("sandbox.run", "sandbox.run", options or {})
  return core.need("nouns").checked("sandbox.run", type(options) == "table" and options or {}, result)
end
---- names -------------------------------------------------------------------------------------

local nouns = {}
for noun in ("image container volume hook script plugin system"):gmatch("%a+") do nouns[noun] = true end
local later = {}
local later_nouns = "network service job node secret config scheduler project net storage"
for noun in later_nouns:gmatch("%a+") do later[noun] = true end

function functions.apply(objects, ...)
  for noun in type(objects) == "table" and later_nouns:gmatch("%a+") or function() end do
    local kind = noun .. "s"
    if objects[kind] ~= nil then
      fail("unsupported", "lunette.apply: " .. kind .. " are not in this version", { operation = "lunette.apply", path = kind })
    end
  end
  return core.need("nouns").plumbing("lunette", "apply")(objects, ...)
end

-- All names that `lunette` has, sorted.
function library.names()
  local words = { "log", "json", "fs", "sandbox", "task", "test", "store", "process", "http", "null" }
  for word in next, functions do words[#words + 1] = word end
  for word in next, nouns do words[#words + 1] = word end
  table.sort(words)
  return words
end

-- What `pairs(lunette)` goes through: all of it, though each noun is made only when it is first named.
function library.pairs()
  local names, index = library.names(), 0
  return function()
    index = index + 1
    local name = names[index]
    if name then return name, lunette[name] end
  end
end

-- The value of `lunette.NAME`; raises for names that are not there, so that a typo shows where it is.
function library.resolve(name)
  if functions[name] then return functions[name] end
  if name == "log" then return log end
  if name == "json" then return json end
  if name == "fs" then return fs end
  if name == "sandbox" then return sandbox end
  if name == "task" then return core.need "task" end
  if name == "test" then
    if core.testing then return core.testing end
    local missing = function() fail("unsupported", "lunette.test is only there in tests", { hint = "lunette test FILE_test.lua" }) end
    local clock = setmetatable({}, { __index = function() return missing end })
    return setmetatable({ clock = clock }, { __index = function() return missing end })
  end
  if name == "store" then return core.need "store" end
  if name == "process" or name == "http" then return core.need("host")[name] end
  if nouns[name] then return core.need("nouns").table(name) end
  if later[name] then return core.need("nouns").missing(name) end
  local near = host_call("nearest", tostring(name), library.names())
  fail("invalid_argument", "lunette has no \"" .. tostring(name) .. "\"", {
    hint = near and "did you mean \"lunette." .. near .. "\"?" or nil,
  })
end

library.later = later
library.globals = {}
local global = "image container volume hook script plugin system log json fs sandbox task test store process http lunette"
for noun in global:gmatch("%a+") do library.globals[noun] = true end

-- Prepares _G for a chunk: {name, arguments, directory, globals}
function library.open(what)
  if core.is_limited or core.has_globals then return end
  core.has_globals = true
  package.loaded.lunette = lunette
  -- The script's folder first; never the working directory.
  local kept = {}
  for entry in package.path:gmatch("[^;]+") do
    if entry:sub(1, 1) == "/" then kept[#kept + 1] = entry end
  end
  if what.directory then
    table.insert(kept, 1, what.directory .. "/?/init.lua")
    table.insert(kept, 1, what.directory .. "/?.lua")
  end
  package.path = table.concat(kept, ";")
  kept = {}
  for entry in package.cpath:gmatch("[^;]+") do
    if entry:sub(1, 1) == "/" then kept[#kept + 1] = entry end
  end
  package.cpath = table.concat(kept, ";")
  local arguments = { [0] = what.script }
  for index, value in ipairs(what.arguments or {}) do arguments[index] = value end
  _G.arg = arguments
  if what.captures then
    core.need("capture").output()
    if what.has_test_time then core.need("capture").time() end
  end
  if what.globals then
    setmetatable(_G, {
      __index = function(globals, name)
        if not library.globals[name] then return nil end
        local value = name == "lunette" and lunette or lunette[name]
        rawset(globals, name, value)
        return value
      end,
    })
  end
end

return library
