-- process.* and http.*: what runs and asks from the script's own process.

local core = ...
local fail = core.fail
local nouns = core.need "nouns"
local type, next, tostring, setmetatable = type, next, tostring, setmetatable

local modules = { process = {}, http = {} }

-- The options of a call with its positional argument among them.
local function with(operation, name, value, options)
  if options ~= nil and type(options) ~= "table" then
    fail("invalid_argument", "expected a table of options, got " .. type(options), { operation = operation })
  end
  local arguments = {}
  for key, option in next, options or {} do arguments[key] = option end
  if arguments[name] ~= nil then fail("invalid_argument", "given twice", { operation = operation, path = name }) end
  arguments[name] = value
  return arguments
end

function modules.process.run(args, options)
  local arguments = with("process.run", "args", args, options)
  local callbacks
  for _, name in next, { "stdout", "stderr" } do
    if type(arguments[name]) == "function" then
      callbacks = callbacks or {}
      callbacks[name], arguments[name] = arguments[name], true
    end
  end
  local result
  if callbacks then
    result = nouns.call_with_callbacks({ name = "process.run" }, arguments, callbacks)
  else
    result = core.call_for("process.run", "process.run", arguments)
  end
  return nouns.checked("process.run", arguments, result)
end

function modules.http.get(url, options)
  return core.call_for("http.get", "http.get", with("http.get", "url", url, options))
end

function modules.http.request(options)
  if type(options) ~= "table" then
    fail("invalid_argument", "expected a table of options, got " .. type(options), { operation = "http.request" })
  end
  return core.call_for("http.request", "http.request", options)
end

for noun, functions in next, modules do
  setmetatable(functions, {
    __index = function(_, verb)
      fail("invalid_argument", noun .. " has no function \"" .. tostring(verb) .. "\"")
    end,
  })
end

return modules
