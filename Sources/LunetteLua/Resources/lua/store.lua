-- store.*: what a script keeps. Its own store is named by the host, so that nobody has to; store.open names one that scripts share.

local core = ...
local host, fail = core.host, core.fail
local nouns = core.need "nouns"
local type, pcall, error, setmetatable = type, pcall, error, setmetatable

local most_tries = 100

local function check_key(operation, key)
  if type(key) ~= "string" then
    fail("invalid_argument", "expected a key, got " .. type(key), { operation = operation, path = "key" })
  end
end

-- Errors come from what the script called, not from the function beneath it.
local function plumb(operation, verb, arguments)
  local ok, result = pcall(nouns.plumbing("store", verb), arguments)
  if ok then return result end
  if core.is_error(result) then result.operation = operation end
  error(result, 0)
end

local Store = { __name = "lunette.store" }
local methods = {}
Store.__index = methods
Store.__tostring = function(store) return "store " .. store.name end

function methods.get(store, key)
  check_key("store.get", key)
  return plumb("store.get", "fetch", { store = store.place, key = key }).value
end

function methods.set(store, key, value)
  check_key("store.set", key)
  if value == nil or value == host.null then
    plumb("store.set", "drop", { store = store.place, key = key })
  else
    plumb("store.set", "put", { store = store.place, key = key, value = value })
  end
end

function methods.update(store, key, f)
  check_key("store.update", key)
  if type(f) ~= "function" then
    fail("invalid_argument", "expected a function, got " .. type(f), { operation = "store.update" })
  end
  for _ = 1, most_tries do
    local entry = plumb("store.update", "fetch", { store = store.place, key = key })
    local value = f(entry.value)
    local arguments = { store = store.place, key = key, value = value, version = entry.version }
    local ok, problem = true, nil
    if value == nil or value == host.null then
      arguments.value = nil
      if entry.version ~= 0 then ok, problem = pcall(plumb, "store.update", "drop", arguments) end
    else
      ok, problem = pcall(plumb, "store.update", "put", arguments)
    end
    if ok then return value end
    if not core.is_error(problem) or problem.code ~= "conflict" then error(problem, 0) end
  end
  fail("conflict", "others changed \"" .. key .. "\" in each of " .. most_tries .. " tries", {
    operation = "store.update", target = key,
  })
end

function methods.list(store, prefix)
  if prefix ~= nil and type(prefix) ~= "string" then
    fail("invalid_argument", "expected a prefix, got " .. type(prefix), { operation = "store.list" })
  end
  return plumb("store.list", "keys", { store = store.place, prefix = prefix })
end

function methods.delete(store, key)
  check_key("store.delete", key)
  return plumb("store.delete", "drop", { store = store.place, key = key })
end

local own

local store = {}
for verb, method in next, methods do
  store[verb] = function(...)
    own = own or setmetatable({ name = "of this script", place = host.call("store") }, Store)
    return method(own, ...)
  end
end

-- A store that every script of this engine may open.
function store.open(name)
  if type(name) ~= "string" or not name:match "^[%w._-]+$" or #name > 64 then
    fail("invalid_argument", "a store's name has 1 to 64 letters, digits, dots, dashes and underscores", {
      operation = "store.open", path = "name",
    })
  end
  return setmetatable({ name = name, place = "shared/" .. name }, Store)
end

return store
