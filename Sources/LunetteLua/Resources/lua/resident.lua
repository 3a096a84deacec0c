-- Resident scripts: loaded without effects, they hand over what they register; the engine calls their handlers.

local core = ...
local host, fail = core.host, core.fail
local type, next, tostring = type, next, tostring
local unpack = table.unpack
local hooks, plugin = core.need "hooks", core.need "plugin"
local run = plugin.run

local registered = {}     -- the arguments of hook.register, in order
local names = {}
local life = {}           -- start and stop of the script's own

local function register(kind, event, options, f)
  if not core.is_loading then
    fail("invalid_state", "a resident script registers its handlers while it loads", { operation = "lunette." .. kind })
  end
  local source, line = host.where()
  local arguments = { kind = kind, event = event }
  for key, value in next, options or {} do
    if arguments[key] or key == "subscription" or key == "line" or key == "file" then
      fail("invalid_argument", "unknown option", { operation = "lunette." .. kind, path = tostring(key) })
    end
    arguments[key] = value
  end
  local number = #registered + 1
  local id = kind .. "/" .. tostring(arguments.name or number)
  -- A name is what a handler's place in the events is kept under.
  if names[id] then
    fail("already_exists", "this script has a handler of the name \"" .. tostring(arguments.name) .. "\" already", {
      operation = "lunette." .. kind, path = "name",
    })
  end
  names[id] = true
  arguments.subscription, arguments.line, arguments.file = id, line, source
  registered[number] = arguments
  return hooks.keep(id, event, arguments.name, kind, f)
end

-- {reply, source, name, timeout}: runs the chunk; answers with what it registered.
function core.entries.load_resident(what)
  core.register_hook = register
  run(what.reply, what.timeout, function()
    local result = plugin.load(what, "script_failed")
    if result ~= nil and type(result) ~= "table" then
      fail("invalid_argument", "a resident script returns nothing or { start = f, stop = f }, not a " .. type(result))
    end
    for key, value in next, result or {} do
      if key ~= "start" and key ~= "stop" or type(value) ~= "function" then
        fail("invalid_argument", "a resident script returns { start = f, stop = f }: \"" .. tostring(key) .. "\" is neither")
      end
      life[key] = value
    end
    return { handlers = registered, sockets = core.declared_sockets, has_timers = core.held ~= nil or life.start ~= nil }
  end)
end

-- {reply, name, timeout}: start or stop. With start, the timers and tasks that it made while it was loaded begin.
function core.entries.resident_life(what)
  if what.name == "start" then core.release_held() end
  run(what.reply, what.timeout, function()
    if life[what.name] then life[what.name]() end
  end)
end

-- Those that a script spawns while it loads wait for its start.
function core.release_held()
  local held = core.held or {}
  core.held = nil
  for index = 1, #held do core.enqueue(unpack(held[index], 1, held[index].n)) end
end

return {}
