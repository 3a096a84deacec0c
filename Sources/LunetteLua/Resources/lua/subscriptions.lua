-- lunette.before, lunette.on and lunette.events: what registers handlers. It keeps nothing itself (core.lua, `keeps_nothing`).

local core = ...
local host, fail, handlers = core.host, core.fail, core.handlers
local host_call = host.call
local type, setmetatable, next, pcall, error = type, setmetatable, next, pcall, error
local nouns = setmetatable({}, { __index = function(_, name) return core.need("nouns")[name] end })

local subscriptions = {}

local function holding_handlers(change)
  core.handler_count = (core.handler_count or 0) + change
  host_call("handlers", core.handler_count)
end

local Subscription = { __name = "lunette.subscription" }
Subscription.__index = {
  off = function(subscription)
    if subscription.is_off then return end
    subscription.is_off = true
    if subscription.is_resident then
      -- The engine goes on asking until the next reload: nothing is answered then.
      subscription.handler.f = function() end
      return
    end
    for id, handler in next, handlers do
      if handler == subscription.handler then handlers[id] = nil end
    end
    holding_handlers(-1)
    nouns.plumbing("hook", "unregister") { subscription = subscription.id }
  end,
}
Subscription.__close = Subscription.__index.off
Subscription.__tostring = function(subscription) return "handler of " .. subscription.event end

-- A resident script's handler, which the engine gets with all others of the script.
function subscriptions.keep(id, event, name, kind, f)
  handlers[id] = { kind = kind, f = f, queues = {} }
  return setmetatable({ id = id, event = event, name = name, handler = handlers[id], is_resident = true }, Subscription)
end

local options_of = { before = { "name", "timeout", "on_failure", "priority", "match" }, on = { "name", "match", "order" } }
local known_options = { name = true, timeout = true, on_failure = true, priority = true, match = true, order = true }

-- The words of the function that was called, not those of the engine's beneath it.
local function check_options(kind, options)
  local word = core.need("options").first_unknown(options or {}, known_options)
  if not word then return end
  local near = host_call("nearest", word, options_of[kind])
  fail("invalid_argument", "unknown option", {
    operation = "lunette." .. kind, path = word,
    hint = near and "did you mean \"" .. near .. "\"?" or "known: " .. table.concat(options_of[kind], ", "),
  })
end
subscriptions.check_options = check_options

local function register(kind, operation, event, options, f)
  if type(options) == "function" and f == nil then options, f = {}, options end
  local function expect(is_so, what, value)
    if not is_so then fail("invalid_argument", operation .. ": expected " .. what .. ", got " .. type(value), { operation = operation }) end
  end
  expect(type(event) == "string", "an event's name", event)
  expect(type(f) == "function", "a handler", f)
  expect(options == nil or type(options) == "table", "a table of options", options)
  check_options(kind, options)
  if core.register_hook then return core.register_hook(kind, event, options, f) end
  if core.is_registered then
    fail("invalid_state", "a resident script registers its handlers while it loads", { operation = operation })
  end
  local arguments = { subscription = host_call("unique"), kind = kind, event = event }
  for key, value in next, options or {} do arguments[key] = value end
  local handler = { kind = kind, f = f }
  -- Before the call: the engine may call the handler before its answer is here.
  handlers[arguments.subscription] = handler
  holding_handlers(1)
  local ok, result = pcall(nouns.plumbing("hook", "register"), arguments)
  if not ok then
    handlers[arguments.subscription] = nil
    holding_handlers(-1)
    result.operation = operation
    error(result, 0)
  end
  local id = type(result) == "table" and result.subscription or arguments.subscription
  handlers[id] = handler
  return setmetatable({ id = id, event = event, name = arguments.name, handler = handler }, Subscription)
end

-- lunette.lifecycle(name, program): of resident scripts alone.
function subscriptions.lifecycle(name, program)
  if core.is_registered then
    fail("invalid_state", "a resident script registers its lifecycles while it loads", { operation = "lunette.lifecycle" })
  end
  if not core.register_lifecycle then
    fail("invalid_state", "a lifecycle lives in a resident script", {
      operation = "lunette.lifecycle", hint = "put it into conf.d of the settings' folder, or: lunette apply FILE.lua",
    })
  end
  return core.register_lifecycle(name, program)
end

function subscriptions.before(event, options, f) return register("before", "lunette.before", event, options, f) end
function subscriptions.on(event, options, f) return register("on", "lunette.on", event, options, f) end

-- for ev in lunette.events{ since=, match= } do … end
function subscriptions.events(options)
  if options ~= nil and type(options) ~= "table" then
    fail("invalid_argument", "lunette.events: expected a table of options, got " .. type(options))
  end
  local arguments = {}
  for key, value in next, options or {} do arguments[key] = value end
  local make_event = core.need("hooks").make_event
  local ok, stream = pcall(nouns.open_stream, "events.follow", arguments, nouns.where())
  if not ok then
    -- Beneath it is the engine's function, which nobody has typed.
    if core.is_error(stream) and stream.operation == "events.follow" then stream.operation = "lunette.events" end
    error(stream, 0)
  end
  return nouns.iterate(stream, function(record)
    return make_event(record, { kind = "events" })
  end)
end

-- The session is over: nobody calls its handlers any more.
function subscriptions.forget()
  for id in next, handlers do handlers[id] = nil end
  core.handler_count = 0
  host_call("handlers", 0)
end

return subscriptions
