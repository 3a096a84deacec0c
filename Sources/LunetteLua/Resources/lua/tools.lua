-- log, json, fs and sandbox. It keeps nothing (core.lua, `keeps_nothing`).

local core = ...
local host, fail = core.host, core.fail
local type, tostring, next, select = type, tostring, next, select

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

local sandbox = {}
function sandbox.run(options)
  local result = core.call_for("sandbox.run", "sandbox.run", options or {})
  return core.need("nouns").checked("sandbox.run", type(options) == "table" and options or {}, result)
end

return { log = log, json = json, fs = fs, sandbox = sandbox }
