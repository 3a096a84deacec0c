-- Waiting and tasks.
--
-- Every script, REPL line and handler runs in a task: a coroutine that this file schedules. Whoever waits yields
-- (WAIT, token) up through any coroutine of the user's own; `deliver(token, packet)` resumes it. Tokens above zero are the
-- host's (a call under way, a timer), below zero this file's own (a task joined, a queue read).

local core = ...
local host, entries = core.host, core.entries
local WAIT, host_call, unpack_packet, resume_task = host.WAIT, host.call, host.unpack, host.resume_task
local create, raw_yield, isyieldable = coroutine.create, coroutine.yield, coroutine.isyieldable
local running, status, close = coroutine.running, coroutine.status, coroutine.close
local error, pcall, xpcall, type, setmetatable = error, pcall, xpcall, type, setmetatable
local pack, unpack, ipairs, select, next = table.pack, table.unpack, ipairs, select, next
local is_error, make_error, fail = core.is_error, core.make_error, core.fail

local current            -- the task that runs now
local waiting = {}       -- token → the task that waits for it
local blocked = {}       -- token → the cell that a blocking wait fills
local receivers = {}     -- token → function(ok, …) for what comes more than once
local ready, ready_first, ready_last = {}, 1, 0
local last_token = 0

core.receivers, core.waiting, core.blocked = receivers, waiting, blocked
core.is_loading = false
function core.current() return current end
function core.set_current(t) current = t end

function core.token()
  last_token = last_token - 1
  return last_token
end

---- waiting ---------------------------------------------------------------------------------

local function cancelled_error(t) return make_error(core.need("control").cancelled_record(t)) end

local function settle(ok, ...)
  if ok then return ... end
  error(make_error((...)), 0)
end

local function settle_any(first, ...)
  if type(first) == "userdata" then return settle(unpack_packet(first)) end
  return settle(first, ...)
end

-- Waits for a token. `abandon` is called with it when the task is cancelled meanwhile.
function core.wait(token, abandon)
  local t = current
  if not t then error("waiting outside a task", 0) end
  if core.is_loading then fail("invalid_state", "nothing waits while a resident script or a plugin is loaded") end
  if t.is_cancelled and t.shields == 0 and not core.need("control").has_grace(t, (running())) then
    if abandon then abandon(token) end
    error(cancelled_error(t), 0)
  end
  t.token, t.abandon = token, abandon
  waiting[token] = t
  if isyieldable() then return settle_any(raw_yield(WAIT, token)) end
  if core.is_limited then
    waiting[token] = nil
    fail("would_block", "a call that waits can't be made here: Lua can't yield (a sort's or gsub's function, a required chunk)")
  end
  return settle_any(core.need("blocking").block(token))
end

-- Tells the host that nobody waits for a call any more.
local function cancel_call(token) host_call("cancel", token) end
core.cancel_call = cancel_call

local asked_sleep        -- how long the task that yields wants to sleep

-- Sleeping tasks are many, so that each is kept small: the scheduler asks the host for the timer, whose call would make the coroutine's
-- stack twice as large. Elsewhere it is a call like any other.
function core.sleep(duration)
  local t = current
  if core.is_loading or not t or running() ~= t.co or t.is_cancelled or not isyieldable() then return core.call("sleep", duration) end
  asked_sleep = duration
  return settle_any(raw_yield(WAIT))
end

---- tasks -----------------------------------------------------------------------------------

-- What most tasks have in common is here, not in each of them.
local Task = { __name = "lunette.task", __index = { state = "ready", shields = 0, reports = true } }
core.Task = Task
-- Those that have not ended; shared with what starts and ends scripts.
local open = {
  holding = 0,           -- tasks that keep the script alive
  tasks = setmetatable({}, { __mode = "k" }),  -- all of them → whether they do
  failed = {},           -- spawned tasks that failed and that nobody awaited
}
core.open = open
-- A task failed that nobody awaits: the script's failure, told at its end.
function core.note_failed(t) open.failed[#open.failed + 1] = t end

-- What a task runs because of. Not in the task, which is its script's to write: who could change it would pass for another's handler.
local causes = {}
function core.cause_of(t) return causes[t] end
local open_tasks = 0     -- how many
local most_tasks = 1000  -- of limited code: each costs memory that only the collector gives back

-- A task and what it goes on with, or a task that begins.
local function line_up(item)
  ready_last = ready_last + 1
  ready[ready_last] = item
end
core.line_up = line_up
local function enqueue(t, ...) line_up(pack(t, ...)) end

-- Wakes whoever waits for one of our own tokens.
local function wake(token, ...)
  local cell = blocked[token]
  if cell then
    for key, value in next, pack(...) do cell[key] = value end
    return
  end
  local t = waiting[token]
  if t then
    waiting[token], t.token, t.abandon = nil, nil, nil
    enqueue(t, ...)
  end
end
core.wake = wake

local function on_error(e)
  local t = current
  if is_error(e) then
    e.traceback = e.traceback or host.traceback(nil, nil, 2)
  elseif t then
    t.traceback = host.traceback(nil, nil, 2)
  end
  return e
end

-- What a function has returned that returns nothing.
local nothing = { n = 0 }

local function finish(t, ok, ...)
  if open.tasks[t] then open.holding = open.holding - 1 end
  t.token, t.abandon, open.tasks[t], causes[t] = nil, nil, nil, nil
  open_tasks = open_tasks - 1
  if ok then
    t.state, t.results = "done", select("#", ...) == 0 and nothing or pack(...)
  else
    t.state, t.error = "failed", (...)
    if t.is_cancelled then t.state = "cancelled" end
  end
  if t.on_finish then t.on_finish(t) end
  local joiners = t.joiners
  t.joiners = nil
  if joiners then
    for _, token in ipairs(joiners) do wake(token, true) end
  end
  if not ok and not joiners and t.reports and not t.is_cancelled then core.note_failed(t) end
  t.parent = nil
  if t.unclaimed then
    core.need("lost").tell_of(t)
  end
end

-- Starts the timer of a task that yielded in core.sleep.
local function begin_sleep(t, ok, first, ...)
  if not ok or first ~= WAIT then return enqueue(t, ok, first, ...) end
  local token = ...
  t.token, t.abandon, waiting[token] = token, cancel_call, t
end

-- What a task's coroutine runs. Not xpcall itself: whoever got hold of the coroutine would choose the handler, which no limit reaches.
local function body(f) return xpcall(f, on_error) end
local function body_with(f, ...) return xpcall(f, on_error, ...) end

-- What a task's coroutine came back with.
local function came_back(t, ok, first, ...)
  if not ok then
    -- Only out of memory or stack ends here: xpcall takes the rest.
    pcall(close, t.co)
    finish(t, false, first)
  elseif first == WAIT then
    if ... == nil then begin_sleep(t, pcall(host_call, "sleep", asked_sleep)) end
  elseif status(t.co) == "dead" then
    finish(t, first, ...)
  else
    enqueue(t, false, { code = "invalid_state", message = "attempt to yield from outside a coroutine" })
  end
end

local function run(t, ...)
  if t.is_cancelled and t.start then
    t.start = nil
    finish(t, false, cancelled_error(t))
    return
  end
  local previous, start = current, t.start
  current = t
  if start then
    t.start = nil
    came_back(t, resume_task(t.co, start, ...))
  else
    came_back(t, resume_task(t.co, ...))
  end
  current = previous
end

local function run_ready()
  while ready_first <= ready_last do
    local item = ready[ready_first]
    ready[ready_first] = nil
    ready_first = ready_first + 1
    -- A task that begins without arguments stands there by itself.
    if item.co then run(item) else run(item[1], unpack(item, 2, item.n)) end
  end
  ready_first, ready_last = 1, 0
end
core.run_ready = run_ready

-- A task more; `t` is what is to stand in it from the start, with room for the rest. Counted last: there may be no memory for it.
local function make(t, runs)
  if core.is_limited and open_tasks >= most_tasks then
    fail("resource_exhausted", "more than " .. most_tasks .. " tasks at once")
  end
  setmetatable(t, Task)
  t.co, open.tasks[t] = create(runs), false
  open_tasks = open_tasks + 1
  return t
end
-- One of a handler, with what its calls are caused by.
function core.make_task(t, cause)
  make(t, body_with)
  causes[t] = cause
  return t
end

-- Runs a task of a handler until it waits: at once, or after what runs and what is ready. `run_ready` is to follow.
function core.start(t, f, argument)
  if current then t.scope, t.line = current.scope, current.line end
  t.start = f
  if current or ready_first <= ready_last then enqueue(t, argument) else run(t, argument) end
end

-- Makes a task of a function; it starts when the tasks before it have waited.
-- options: holds (keeps the script alive), reports (its failure is the script's when nobody awaits it), label and f (what lists show)
local function spawn(options, f, ...)
  -- `start` is there until it has begun. Eight fields fit: two more are for what it waits for.
  local has_arguments = select("#", ...) > 0
  local t = make({
    co = nil, start = f, f = options.f or f, label = options.label, token = nil, abandon = nil,
  }, has_arguments and body_with or body)
  if current then
    t.scope, t.line = current.scope, current.line
    causes[t] = causes[current]
    if options.reports and core.is_limited then t.parent = current end
  end
  if not options.reports then t.reports = false end
  if options.holds then open.holding, open.tasks[t] = open.holding + 1, true end
  local item = has_arguments and pack(t, ...) or t
  if core.is_loading then
    core.held = core.held or {}
    core.held[#core.held + 1] = item
  else
    line_up(item)
  end
  return t
end
core.spawn = spawn

---- what the host calls -----------------------------------------------------------------------

function entries.deliver(token, packet)
  local cell = blocked[token]
  if cell then
    for key, value in next, pack(unpack_packet(packet)) do cell[key] = value end
    return
  end
  local t = waiting[token]
  if t then
    waiting[token], t.token, t.abandon = nil, nil, nil
    run(t, packet)
  else
    local receiver = receivers[token]
    if receiver then receiver(unpack_packet(packet)) end
  end
  run_ready()
  core.check_end()
end

-- There is no main task before the module `script` starts one.
function core.check_end() end
