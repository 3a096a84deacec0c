-- lunette.lifecycle: what a resident script decides about containers, taken apart into handlers and data. It keeps nothing itself
-- (core.lua, `keeps_nothing`).

local core = ...
local host, fail = core.host, core.fail
local type, next, tostring = type, next, tostring
local keep = core.need("subscriptions").keep

local lifecycles = {}

-- What is observed, after the commit, and what its function gets of the event.
local observed = {
  started = { "container.started", function(f) return function(ev) return f(ev.container) end end },
  ready = { "container.ready", function(f) return function(ev) return f(ev.container) end end },
  unhealthy = { "container.unhealthy", function(f) return function(ev) return f(ev.container, ev.failures) end end },
  oom = { "container.oom", function(f) return function(ev) return f(ev.container) end end },
  removed = { "container.removed", function(f) return function(ev) return f(ev.target.name) end end },
}
local decided = {
  stop = function(f) return function(ev) return f(ev.container) end end,
  exited = function(f) return function(ev) return f(ev.container, ev.exit, ev.attempts) end end,
}
local operation = "lunette.lifecycle"

local function wrong(path, message, words)
  local key = path:match("[^.]+$")
  local near = words and host.call("nearest", key, words)
  fail("invalid_argument", message, {
    operation = operation, path = path, hint = near and "did you mean \"" .. near .. "\"?" or nil,
  })
end

-- Of several unknown words the first by name is told.
local function check_words(given, words, path)
  local known = {}
  for index = 1, #words do known[words[index]] = true end
  local unknown = core.need("options").first_unknown(given, known)
  if unknown then wrong(path .. unknown, "unknown option", words) end
end

local function need_function(value, path)
  if type(value) ~= "function" then wrong(path, "expected a function, got " .. type(value)) end
  return value
end

local function add_state(name, state, definition)
  local path = "states." .. tostring(state)
  if type(state) ~= "string" then wrong(path, "a state has a name") end
  if type(definition) ~= "table" then wrong(path, "expected a table, got " .. type(definition)) end
  local data = {}
  check_words(definition, { "from", "to", "enter", "leave", "timeout", "on_timeout" }, path .. ".")
  for key, value in next, definition do
    local at = path .. "." .. tostring(key)
    if key == "enter" or key == "leave" then
      local f = need_function(value, at)
      keep("lifecycle/" .. name .. "/states/" .. state .. "/" .. key, "lifecycle", name, "call", function(ev) f(ev.container) end)
      data[key] = true
    else
      data[key] = value
    end
  end
  return data
end

-- Registers the lifecycle `name`: its data goes into `registered`, its handlers through `register(kind, event, options, f)`.
function lifecycles.register(name, program, registered, register)
  if type(name) ~= "string" then fail("invalid_argument", "expected a name, got " .. type(name), { operation = operation }) end
  if type(program) ~= "table" then
    fail("invalid_argument", "expected a table of functions, got " .. type(program), { operation = operation })
  end
  local source, line = host.where()
  local entry = { kind = "lifecycle", name = name, functions = {}, states = {}, line = line, file = source }
  -- Before its handlers: what is wrong with it is told in its own words.
  registered[#registered + 1] = entry
  local words = { "prepare", "pressure", "states" }
  for key in next, observed do words[#words + 1] = key end
  for key in next, decided do words[#words + 1] = key end
  check_words(program, words, "")
  local prefix = "lifecycle/" .. name .. "/"
  for key, value in next, program do
    local handler = prefix .. tostring(key)
    if key == "prepare" then
      register("before", "container.create", { name = handler, match = { lifecycle = name } }, need_function(value, key))
    elseif observed[key] then
      local event, adapt = observed[key][1], observed[key][2]
      register("on", event, { name = handler, match = { lifecycle = name } }, adapt(need_function(value, key)))
      entry.functions[#entry.functions + 1] = key
    elseif decided[key] then
      keep(handler, "lifecycle", name, "call", decided[key](need_function(value, key)))
      entry.functions[#entry.functions + 1] = key
    elseif key == "pressure" then
      if type(value) ~= "table" or type(value.match) ~= "table" then
        wrong("pressure", "expected { match = { memory = \">10% 10s\" }, f }, got " .. type(value))
      end
      local f = need_function(value[1], "pressure[1]")
      local match = { lifecycle = name }
      for resource, limit in next, value.match do match[resource] = match[resource] or limit end
      register("on", "container.pressure", { name = handler, match = match }, function(ev)
        return f(ev.container, ev.pressure)
      end)
      entry.pressure = value.match
    elseif key == "states" then
      if type(value) ~= "table" then wrong("states", "expected a table, got " .. type(value)) end
      for state, definition in next, value do entry.states[state] = add_state(name, state, definition) end
    end
  end
end

return lifecycles
