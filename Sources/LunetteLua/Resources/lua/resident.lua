-- Resident scripts: loaded without effects, they hand over what they register; the engine calls their handlers. All of this goes when
-- that is done: of what it makes only the handlers, and the script's own functions (core.life), stay.

local core = ...
local host, fail = core.host, core.fail
local type, next, tostring = type, next, tostring
local replies, keep = core.need "replies", core.need("subscriptions").keep

local registered = {}     -- the arguments of hook.register, in order
local names = {}
local desired = {}        -- container.apply … made while it was loaded

local function register(kind, event, options, f)
  local source, line = host.where()
  local arguments = { kind = kind, event = event }
  for key, value in next, options or {} do
    arguments[key] = value
  end
  local number = #registered + 1
  -- No name makes the id of one that has none.
  local id = arguments.name and kind .. "/" .. tostring(arguments.name) or kind .. "#" .. number
  -- A name is what a handler's place in the events is kept under.
  if names[id] then
    fail("already_exists", "this script has a handler of the name \"" .. tostring(arguments.name) .. "\" already", {
      operation = "lunette." .. kind, path = "name",
    })
  end
  names[id] = true
  arguments.subscription, arguments.line, arguments.file = id, line, source
  registered[number] = arguments
  return keep(id, event, arguments.name, kind, f)
end

---- lifecycles --------------------------------------------------------------------------------

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

local function start_lifecycles()
  core.register_lifecycle = function(name, program)
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
end

---- loading -----------------------------------------------------------------------------------

-- What registers from now on gets an error; nothing here may be held by it.
local function registers_no_more()
  core.desire = nil
  core.register_hook = function(kind)
    fail("invalid_state", "a resident script registers its handlers while it loads", { operation = "lunette." .. kind })
  end
  core.register_lifecycle = function()
    fail("invalid_state", "a resident script registers its lifecycles while it loads", { operation = "lunette.lifecycle" })
  end
end

-- {reply, source, name, timeout}: runs the chunk; answers with what it registered.
function core.entries.load_resident(what)
  core.register_hook = register
  start_lifecycles()
  core.desire = function(fn, arguments)
    local noun = fn.name:match("^[^.]+")
    if noun == "script" then fail("invalid_state", "a resident script installs no other", { operation = fn.name }) end
    local source, line = host.where()
    desired[#desired + 1] = { ["function"] = fn.name, arguments = arguments, line = line, file = source }
    local promised = core.need("nouns").promised
    if noun ~= "lunette" then return promised(noun, arguments.name) end
    local result = { changed = {} }
    for _, kind in next, { "volume", "container" } do
      local handles, given = {}, arguments[kind .. "s"]
      for name in next, type(given) == "table" and given or {} do handles[name] = promised(kind, name) end
      result[kind .. "s"] = handles
    end
    return result
  end
  local answered = replies.run(what.reply, what.timeout, function()
    local result = replies.load(what, "script_failed")
    registers_no_more()
    if result ~= nil and type(result) ~= "table" then
      fail("invalid_argument", "a resident script returns nothing or { start = f, stop = f }, not a " .. type(result))
    end
    local life = {}
    for key, value in next, result or {} do
      if key ~= "start" and key ~= "stop" or type(value) ~= "function" then
        fail("invalid_argument", "a resident script returns { start = f, stop = f }: \"" .. tostring(key) .. "\" is neither")
      end
      life[key] = value
    end
    core.life = life
    return { handlers = registered, desired = desired, sockets = core.declared_sockets,
      has_timers = core.held ~= nil or life.start ~= nil }
  end)
  -- Loading never waits: it has been answered. The engine collects what it took.
  if answered.state ~= "ready" then
    core.entries.load_resident = nil
    core.forget "resident"
  end
end

return {}
