-- Handlers at work: the events that they get, and what comes of them.

local core = ...
local host, fail, is_error, make_error = core.host, core.fail, core.is_error, core.make_error
local make_task, start_task = core.make_task, core.start
local host_call = host.call
local type, setmetatable, next, pcall, error = type, setmetatable, next, pcall, error
-- At the first event that has a handle.
local rawget = rawget
local function is_handle(value) return type(value) == "table" and rawget(value, "$handle") ~= nil end
local move = table.move
local nouns = setmetatable({}, { __index = function(_, name) return core.need("nouns")[name] end })

local hooks = {}
local handlers = core.handlers

---- merging -----------------------------------------------------------------------------------

local metatable, view_of = host.metatable, host.view_of
local function is_list(value)
  return type(value) == "table" and (#value > 0 or metatable(view_of(value) or value) == host.list_metatable)
end
local function is_map(value) return type(value) == "table" and not is_list(value) and not is_handle(value) end

-- A table of one's own in place of a view that can't be written.
local function written(value)
  local seen = type(value) == "table" and view_of(value)
  if not seen then return value end
  local copy = {}
  for key in next, seen do copy[key] = written(value[key]) end
  if metatable(seen) == host.list_metatable then setmetatable(copy, host.list_metatable) end
  return copy
end

-- Maps are merged, lists and scalars replaced. `keeps_null`: a null stays one (it will delete later); else it deletes now.
local function merge(a, b, keeps_null)
  if not is_map(a) or not is_map(b) then return written(b) end
  local result = {}
  for key, value in next, a do result[key] = written(value) end
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

-- A view of a table that can't be written, all the way down. All views share their functions: there is a view for each table that is
-- looked at.
local viewed = view_of
local read_only

local function view_index(view, key)
  local item = viewed(view)[key]
  if type(item) ~= "table" then return item end
  local meta = metatable(view)
  local inner = meta.views and meta.views[key]
  if inner then return inner end
  inner = read_only(item, meta.what)
  if not meta.views then meta.views = {} end
  meta.views[key] = inner
  return inner
end

local function view_refuse(view)
  fail("invalid_state", metatable(view).what .. " can't be written", { hint = "ev:amend { … } changes it" })
end

local function view_len(view) return #viewed(view) end

local function view_next(view, key)
  local following = next(viewed(view), key)
  if following ~= nil then return following, view[following] end
end

local function view_pairs(view) return view_next, view end

function read_only(value, what)
  if type(value) ~= "table" or is_handle(value) then return value end
  local meta = {
    __index = view_index, __newindex = view_refuse, __len = view_len, __pairs = view_pairs, __metatable = "read-only",
    what = what, views = nil,
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

-- Of the first event; what only registers needs none of it.
local make_handle
local function handle(value)
  if not is_handle(value) then return value end
  make_handle = make_handle or nouns.handle
  return make_handle(value)
end

-- `state`: of one that may be denied or amended.
local function make_event(record, state)
  local container, image, volume, spec, cause = record.container, record.image, record.volume, record.spec, record.cause
  if container then record.container = handle(container) end
  if image then record.image = handle(image) end
  if volume then record.volume = handle(volume) end
  if type(spec) == "table" then record.spec = read_only(spec, "ev.spec") end
  -- What the handler's calls are caused by isn't for it to write.
  if cause then record.cause = move(cause, 1, #cause, 1, {}) end
  local ev = setmetatable(record, Event)
  if state then states[ev] = state end
  return ev
end

local function answer_question(t)
  local what, handler = t.what, t.handler
  local kind = handler.kind
  if kind == "filter" then
    host_call("reply", what.reply, true, handler.f(what.event))
    return
  end
  if what.change then what.event.spec = host.decode(what.change) end
  local state = { kind = kind }
  local ok, problem = pcall(handler.f, make_event(what.event, state))
  if state.denied then
    host_call("reply", what.reply, true, { deny = state.denied })
  elseif ok and kind == "call" then
    host_call("reply", what.reply, true, { result = problem == nil and host.null or problem })
  elseif ok then
    host_call("reply", what.reply, true, kind == "before" and state.amended and { amend = state.amended } or host.null)
  else
    error(problem, 0)
  end
end

-- A handler that waits beyond its time is cancelled: whoever asked goes by its `on_failure`, and what it would do later would be done in
-- vain. Somewhat later than the engine's own clock, which tells of it.
local grace = 0.25

local function watch(t, deadline)
  local left = deadline - host.now() + grace
  if t.state ~= "ready" or left > 1e6 then return end
  local _, timer = host_call("sleep", left > 0 and left or 0)
  t.timer = timer
  core.receivers[timer] = function()
    core.receivers[timer], t.timer = nil, nil
    core.need("control").cancel(t, "timeout", "it was asked for an answer by now")
  end
end

local function end_question(t)
  local timer = t.timer
  if timer then
    core.receivers[timer], t.timer = nil, nil
    host_call("cancel", timer)
  end
  if t.state == "done" then return end
  local problem = t.error
  if not is_error(problem) then problem = make_error(problem) end
  host_call("reply", t.what.reply, false, {
    -- A denial is told with the handler's own place.
    code = problem.code, message = problem.code == "denied" and problem.message or tostring(problem),
    operation = problem.operation, hint = problem.hint,
  })
end

hooks.make_event = make_event

-- The host calls a handler: {subscription, event, reply}
function core.entries.hook(what)
  local handler = handlers[what.subscription]
  if not handler then
    host_call("reply", what.reply, false, { code = "not_found", message = "the handler is off" })
    return
  end
  local t = make_task({
    reports = false, f = handler.f, on_finish = end_question, what = what, handler = handler,
    co = nil, start = nil, results = nil,
  }, what.event.cause)
  local deadline = what.event.deadline
  start_task(t, answer_question, t)
  core.run_ready()
  if deadline then watch(t, deadline) end
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

  local last = 0
  local function note(index, outcome)
    if is_here then
      ended[last + 1], ended[last + 2] = first + index, outcome
      last = last + 2
    else
      host_call("ended", batch, { first + index, outcome })
    end
  end

  -- A queue is made for the first that has to wait.
  local function line_up(key, waiting)
    local queue = busy[key]
    if queue == true then
      queue = {}
      busy[key] = queue
    end
    queue[#queue + 1] = waiting
  end

  local function finish(t)
    local key = t.hook_key
    local ok = t.state == "done"
    if not ok then failed[key] = true end
    note(t.hook_index, ok)
    local queue = busy[key]
    busy[key] = nil
    if not queue or queue == true then return end
    for position = 1, #queue do
      local waiting = queue[position]
      if not ok then waiting.note(waiting.index, host.null)
      elseif busy[key] then line_up(key, waiting)
      else waiting.start(waiting.index) end
    end
  end

  local function handle_event(event) handler.f(make_event(event)) end

  function start(index)
    local event, key = events[index], keys[index]
    events[index] = false
    local t = make_task({
      reports = false, f = handler.f, on_finish = finish, hook_key = key, hook_index = index,
      co = nil, start = nil, results = nil,
    }, event.cause)
    busy[key] = true
    start_task(t, handle_event, event)
  end

  local began, index = host.clock(), 0
  while index < count do
    index = index + 1
    local key = keys[index]
    if not handler or failed[key] then
      note(index, not handler and false or host.null)
    elseif busy[key] then
      line_up(key, { start = start, note = note, index = index })
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
