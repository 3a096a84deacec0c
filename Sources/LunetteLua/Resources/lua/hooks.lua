-- Handlers at work: the events that they get, and what comes of them.

local core = ...
local host, fail, spawn, is_error, make_error = core.host, core.fail, core.spawn, core.is_error, core.make_error
local host_call = host.call
local type, setmetatable, next, pcall, error = type, setmetatable, next, pcall, error
-- At the first event that has a handle.
local rawget = rawget
local function is_handle(value) return type(value) == "table" and rawget(value, "$handle") ~= nil end
local nouns = setmetatable({}, { __index = function(_, name) return core.need("nouns")[name] end })

local hooks = {}
local handlers = core.handlers

---- merging -----------------------------------------------------------------------------------

local function is_list(value) return type(value) == "table" and (#value > 0 or getmetatable(value) == host.list_metatable) end
local function is_map(value) return type(value) == "table" and not is_list(value) and not is_handle(value) end

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
  if type(value) ~= "table" or is_handle(value) then return value end
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
    if is_handle(record[noun]) then record[noun] = nouns.handle(record[noun]) end
  end
  if type(record.spec) == "table" then record.spec = read_only(record.spec, "ev.spec") end
  local ev = setmetatable(record, Event)
  states[ev] = state
  return ev
end

hooks.make_event = make_event

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
    elseif ok and handler.kind == "call" then
      host_call("reply", what.reply, true, { result = problem == nil and host.null or problem })
    elseif ok then
      host_call("reply", what.reply, true, handler.kind == "before" and state.amended and { amend = state.amended } or host.null)
    else
      error(problem, 0)
    end
  end)
  t.on_finish = function()
    if t.state == "done" then return end
    local problem = t.error
    if not is_error(problem) then problem = make_error(problem) end
    host_call("reply", what.reply, false, {
      code = problem.code, message = tostring(problem), operation = problem.operation, hint = problem.hint,
    })
  end
  t.cause = what.event.cause
  handler.running[t] = true
  core.run_ready()
  core.check_end()
end

-- How long the events of one batch are run before others have a turn.
local turn_seconds = 0.002

-- The host calls a handler for many events: {subscription, batch, first, events, keys, failed}. Those of one key run in turn; when one
-- fails the rest of its key is left to the engine. Returns how many were begun or waited for: the host comes again for the others.
function core.entries.hook_batch(what)
  local handler = handlers[what.subscription]
  local batch, first, keys, events = what.batch, what.first - 1, what.keys, what.events
  local count, ended, is_here = #events, {}, true
  local busy = handler and handler.queues or {}
  local failed = {}
  for position = 1, #what.failed do failed[what.failed[position]] = true end
  local start

  local function note(index, outcome)
    local ending = { first + index, outcome }
    if is_here then ended[#ended + 1] = ending
    else host_call("ended", batch, { ending }) end
  end

  local function finish(t)
    local key = t.hook_key
    handler.running[t] = nil
    local ok = t.state == "done"
    if not ok then failed[key] = true end
    note(t.hook_index, ok)
    local queue = busy[key]
    busy[key] = nil
    if not queue then return end
    for position = 1, #queue do
      local waiting = queue[position]
      local rest = busy[key]
      if not ok then waiting.note(waiting.index, host.null)
      elseif rest then rest[#rest + 1] = waiting
      else waiting.start(waiting.index) end
    end
  end

  function start(index)
    local event = events[index]
    events[index] = false
    local t = spawn({}, function()
      local ev = make_event(event, { kind = handler.kind })
      handler.f(ev)
    end)
    t.hook_key, t.hook_index, t.cause, t.on_finish = keys[index], index, event.cause, finish
    handler.running[t] = true
    busy[keys[index]] = {}
  end

  local began, index = host.clock(), 0
  while index < count do
    index = index + 1
    local key = keys[index]
    if not handler or failed[key] then
      note(index, not handler and false or host.null)
    elseif busy[key] then
      local queue = busy[key]
      queue[#queue + 1] = { start = start, note = note, index = index }
    else
      host.renew()
      start(index)
      core.run_ready()
    end
    -- Over a limit nothing more runs in this entry.
    if host.is_exceeded() or host.clock() - began > turn_seconds then break end
  end
  is_here = false
  if ended[1] then host_call("ended", batch, ended) end
  core.check_end()
  return index
end

return hooks
