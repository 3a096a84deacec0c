-- lunette.before, lunette.on and lunette.events: handlers of this script's session, called over its connection.

local core = ...
local host, fail, spawn, is_error, make_error = core.host, core.fail, core.spawn, core.is_error, core.make_error
local host_call = host.call
local type, setmetatable, next, pcall, error = type, setmetatable, next, pcall, error
local nouns = core.need "nouns"

local hooks = {}
local handlers = {}      -- subscription → {kind, f}

---- merging -----------------------------------------------------------------------------------

local function is_list(value) return type(value) == "table" and (#value > 0 or getmetatable(value) == host.list_metatable) end
local function is_map(value) return type(value) == "table" and not is_list(value) and not nouns.is_handle(value) end

-- Maps are merged, lists and scalars replaced. `keeps_null`: a null stays one (it will delete later); else it deletes now.
local function merge(a, b, keeps_null)
  if not is_map(a) or not is_map(b) then return b end
  local result = {}
  for key, value in next, a do result[key] = value end
  for key, value in next, b do
    if value == host.null and not keeps_null then
      result[key] = nil
    else
      result[key] = merge(result[key], value, keeps_null)
      if is_map(value) and result[key] == value and not keeps_null then result[key] = merge({}, value, false) end
    end
  end
  return result
end
hooks.merge = merge

---- ev ----------------------------------------------------------------------------------------

-- A view of a table that can't be written, all the way down.
local function read_only(value, what)
  if type(value) ~= "table" or nouns.is_handle(value) then return value end
  local views = {}
  local meta = {
    __index = function(_, key)
      local item = value[key]
      if type(item) ~= "table" then return item end
      local view = views[key] or read_only(item, what)
      views[key] = view
      return view
    end,
    __newindex = function()
      fail("invalid_state", what .. " can't be written", { hint = "ev:amend { … } changes it" })
    end,
    __len = function() return #value end,
    __pairs = function(view) return function(_, key)
      local following = next(value, key)
      if following ~= nil then return following, view[following] end
    end end,
    __metatable = "read-only",
  }
  host.mark(meta, value)
  return setmetatable({}, meta)
end
hooks.read_only = read_only

local denied = setmetatable({}, { __tostring = function() return "denied" end })

local Event = { __name = "lunette.event" }
Event.__index = {
  deny = function(ev, reason)
    local state = ev.__state
    if not state or state.kind ~= "before" then fail("invalid_state", "only a before handler may deny") end
    state.denied = type(reason) == "string" and reason or "no reason given"
    error(denied, 0)
  end,
  amend = function(ev, changes)
    local state = ev.__state
    if not state or state.kind ~= "before" then fail("invalid_state", "only a before handler may amend") end
    if type(changes) ~= "table" then fail("invalid_argument", "ev:amend: expected a table, got " .. type(changes)) end
    state.amended = state.amended and merge(state.amended, changes, true) or changes
  end,
}
Event.__tostring = function(ev) return "event " .. tostring(ev.name) .. " of " .. tostring(ev.target and ev.target.name) end

local states = setmetatable({}, { __mode = "k" })
local event_methods = Event.__index
Event.__index = function(ev, key)
  if key == "__state" then return states[ev] end
  return event_methods[key]
end

local function make_event(record, state)
  for _, noun in next, { "container", "image", "volume" } do
    if nouns.is_handle(record[noun]) then record[noun] = nouns.handle(record[noun]) end
  end
  if type(record.spec) == "table" then record.spec = read_only(record.spec, "ev.spec") end
  local ev = setmetatable(record, Event)
  states[ev] = state
  return ev
end

-- The host calls a handler: {subscription, event, reply}
function core.entries.hook(what)
  local handler = handlers[what.subscription]
  if not handler then
    host_call("reply", what.reply, false, { code = "not_found", message = "the handler is off" })
    return
  end
  local state = { kind = handler.kind }
  local t = spawn({}, function()
    if handler.kind == "filter" then
      host_call("reply", what.reply, true, handler.f(what.event))
      return
    end
    local ev = make_event(what.event, state)
    local ok, problem = pcall(handler.f, ev)
    if state.denied then
      host_call("reply", what.reply, true, { deny = state.denied })
    elseif ok then
      host_call("reply", what.reply, true, handler.kind == "before" and state.amended and { amend = state.amended } or host.null)
    else
      error(problem, 0)
    end
  end)
  t.on_finish = function()
    if t.state == "done" then return end
    local problem = t.error
    if not is_error(problem) then problem = make_error { code = "script_failed", message = core.text_of(problem) } end
    host_call("reply", what.reply, false, {
      code = problem.code, message = tostring(problem), operation = problem.operation, hint = problem.hint,
    })
  end
  t.cause = what.event.cause
  handler.running[t] = true
  core.run_ready()
  core.check_end()
end

---- registering -------------------------------------------------------------------------------

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
    core.holding_handlers(-1)
    nouns.plumbing("hook", "unregister") { subscription = subscription.id }
  end,
}
Subscription.__close = Subscription.__index.off
Subscription.__tostring = function(subscription) return "handler of " .. subscription.event end

local handler_count = 0
function core.holding_handlers(change)
  handler_count = handler_count + change
  host_call("handlers", handler_count)
end

-- A resident script's handler, which the engine gets with all others of the script.
function hooks.keep(id, event, name, kind, f)
  handlers[id] = { kind = kind, f = f, running = setmetatable({}, { __mode = "k" }) }
  return setmetatable({ id = id, event = event, name = name, handler = handlers[id], is_resident = true }, Subscription)
end

local function register(kind, operation, event, options, f)
  if type(options) == "function" and f == nil then options, f = {}, options end
  if type(event) ~= "string" then fail("invalid_argument", "expected an event's name, got " .. type(event), { operation = operation }) end
  if type(f) ~= "function" then fail("invalid_argument", "expected a handler, got " .. type(f), { operation = operation }) end
  if core.register_hook then return core.register_hook(kind, event, options, f) end
  local arguments = { subscription = host_call("unique"), kind = kind, event = event }
  for key, value in next, options or {} do
    if arguments[key] then fail("invalid_argument", "unknown option", { operation = operation, path = key }) end
    arguments[key] = value
  end
  local handler = { kind = kind, f = f, running = setmetatable({}, { __mode = "k" }) }
  -- Before the call: the engine may call the handler before its answer is here.
  handlers[arguments.subscription] = handler
  core.holding_handlers(1)
  local ok, result = pcall(nouns.plumbing("hook", "register"), arguments)
  if not ok then
    handlers[arguments.subscription] = nil
    core.holding_handlers(-1)
    result.operation = operation
    error(result, 0)
  end
  local id = type(result) == "table" and result.subscription or arguments.subscription
  handlers[id] = handler
  return setmetatable({ id = id, event = event, name = arguments.name, handler = handler }, Subscription)
end

function hooks.before(event, options, f) return register("before", "lunette.before", event, options, f) end
function hooks.on(event, options, f) return register("on", "lunette.on", event, options, f) end

-- for ev in lunette.events{ since=, match= } do … end
function hooks.events(options)
  if options ~= nil and type(options) ~= "table" then
    fail("invalid_argument", "lunette.events: expected a table of options, got " .. type(options))
  end
  local arguments = {}
  for key, value in next, options or {} do arguments[key] = value end
  return nouns.iterate(nouns.open_stream("events.follow", arguments, nouns.where()), function(record)
    return make_event(record, { kind = "events" })
  end)
end

return hooks
