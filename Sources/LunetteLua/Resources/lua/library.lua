-- What scripts see: `lunette` itself, and where what it has comes from. It keeps nothing (core.lua, `keeps_nothing`).

local core = ...
local lunette, host, fail = core.lunette, core.host, core.fail
local host_call = host.call
local type, tostring, pcall, setmetatable, next, table = type, tostring, pcall, setmetatable, next, table

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

for name, f in next, core.need "registration" do functions[name] = f end

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
  if name == "log" or name == "json" or name == "fs" or name == "sandbox" then return core.need("tools")[name] end
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

return library
