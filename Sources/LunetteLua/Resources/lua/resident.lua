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

---- loading -----------------------------------------------------------------------------------

-- What registers from now on gets an error (subscriptions.lua); nothing here may be held by it.
local function registers_no_more()
  core.desire, core.register_hook, core.register_lifecycle = nil, nil, nil
  core.is_registered = true
end

-- {reply, source, name, timeout}: runs the chunk; answers with what it registered.
function core.entries.load_resident(what)
  core.register_hook = register
  core.register_lifecycle = function(name, program) core.need("lifecycles").register(name, program, registered, register) end
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
