-- The heart of the Lua host: waiting and tasks. Runs once when a state opens; its argument is the host's C functions.
--
-- Every script, REPL line and handler runs in a task: a coroutine that this file schedules. Whoever waits yields
-- (WAIT, token) up through any coroutine of the user's own; `deliver(token, packet)` resumes it. Tokens above zero are the
-- host's (a call under way, a timer), below zero this file's own (a task joined, a queue read).

local host = ...
local WAIT, host_call, unpack_packet = host.WAIT, host.call, host.unpack
local resume, resume_task, is_closing = host.resume, host.resume_task, host.is_closing
local create, raw_yield, isyieldable = coroutine.create, coroutine.yield, coroutine.isyieldable
local running, status, close = coroutine.running, coroutine.status, coroutine.close
local error, pcall, xpcall, type = error, pcall, xpcall, type
local rawget, rawset = rawget, rawset
local pack, unpack, ipairs, select = table.pack, table.unpack, ipairs, select

-- As Lua's, but for tables that can't be written: `ev.spec` has nothing of its own.
next = host.next

-- Lua's own globals, for modules that are loaded when code of others has run: what that has put in their place is not theirs. And it gets
-- no metatable of ours: a __gc in one that is used again would run where no limit reaches.
local pristine
if host.is_limited then
  local raw_setmetatable = setmetatable
  pristine = {}
  for name, value in next, _G do pristine[name] = value end
  pristine.getmetatable = host.metatable
  function pristine.setmetatable(value, meta)
    if rawget(meta, "__metatable") == nil then meta.__metatable = false end
    return raw_setmetatable(value, meta)
  end
end
local setmetatable = (pristine or _G).setmetatable

local core = { host = host, lunette = {}, entries = {}, is_limited = host.is_limited, close_grace = 10 }
core.handlers = {}       -- subscription → {kind, f}
core.running = {}        -- reply → the task that answers it
local lunette, entries = core.lunette, core.entries
lunette.null = host.null

-- Loads a module of the stdlib at its first use: opening a state must be fast. Limited states stay for weeks, a thousand in one process,
-- and have the code ready-made: there a module that keeps nothing goes with the garbage, and is loaded again when it is needed again.
local modules, passing = {}, setmetatable({}, { __mode = "v" })
local keeps_nothing = core.is_limited and {
  library = true, limited = true, subscriptions = true, replies = true, lost = true, options = true,
} or {}
function core.need(name)
  local module = modules[name] or passing[name]
  if module == nil then
    -- The one that changes what others see has to reach it.
    module = host.module(name, name ~= "limited" and pristine or nil)(core);
    (keeps_nothing[name] and passing or modules)[name] = module
  end
  return module
end

-- Lets go of a module that has done all it is for.
function core.forget(name) modules[name] = nil end

core.need "errors"
local is_error, make_error, fail = core.is_error, core.make_error, core.fail

---- waiting ---------------------------------------------------------------------------------

local current            -- the task that runs now
local waiting = {}       -- token → the task that waits for it
local blocked = {}       -- token → the cell that a blocking wait fills
local receivers = {}     -- token → function(ok, …) for what comes more than once
local ready, ready_first, ready_last = {}, 1, 0
local last_token = 0

core.receivers = receivers
function core.current() return current end

function core.token()
  last_token = last_token - 1
  return last_token
end

local function cancelled_record(t)
  return { code = t.reason or "cancelled", message = t.reason_text or "the task was cancelled" }
end

local function settle(ok, ...)
  if ok then return ... end
  error(make_error((...)), 0)
end

local function settle_any(first, ...)
  if type(first) == "userdata" then return settle(unpack_packet(first)) end
  return settle(first, ...)
end

local run_ready

-- Waits where Lua can't yield: handles the host's messages here until the token's turn has come.
local function block(token)
  local cell = {}
  blocked[token] = cell
  waiting[token] = nil
  local me = current
  while not cell.n do
    run_ready()
    if cell.n then break end
    if not host.pump() and not cell.n then
      cell.n, cell[1], cell[2] = 2, false, { code = "would_block", message = "nothing can end this wait" }
    end
  end
  blocked[token] = nil
  current = me
  if me and me.token == token then me.token, me.abandon = nil, nil end
  return unpack(cell, 1, cell.n)
end
entries.block = block

-- Whether a cancelled task may wait all the same: what closes has 10 s, counted from the first wait of a handler.
local function has_grace(t, co)
  if t.grace == "over" or not (is_closing(co) or co ~= t.co and is_closing(t.co)) then return false end
  if not t.grace then
    t.grace = "running"
    core.spawn({}, function()
      core.call("sleep", core.close_grace)
      t.grace = "over"
      core.interrupt_wait(t)
    end)
  end
  return true
end

-- Waits for a token. `abandon` is called with it when the task is cancelled meanwhile.
local function wait(token, abandon)
  local t = current
  if not t then error("waiting outside a task", 0) end
  if core.is_loading then fail("invalid_state", "nothing waits while a resident script or a plugin is loaded") end
  if t.is_cancelled and t.shields == 0 and not has_grace(t, (running())) then
    if abandon then abandon(token) end
    error(make_error(cancelled_record(t)), 0)
  end
  t.token, t.abandon = token, abandon
  waiting[token] = t
  if isyieldable() then return settle_any(raw_yield(WAIT, token)) end
  if core.is_limited then
    waiting[token] = nil
    fail("would_block", "a call that waits can't be made here: Lua can't yield (a sort's or gsub's function, a required chunk)")
  end
  return settle_any(block(token))
end
core.wait = wait

local function named(operation, ok, ...)
  if ok then return ... end
  local e = ...
  if is_error(e) and not e.operation then e.operation = operation end
  error(e, 0)
end

local function cancel_call(token) host_call("cancel", token) end

local function finish_call(operation, ok, first, ...)
  if not ok then error(make_error(first, operation), 0) end
  if first ~= WAIT then return first, ... end
  local token = ...
  if operation then return named(operation, pcall(wait, token, cancel_call)) end
  return wait(token, cancel_call)
end

-- What reads nothing but its arguments: loading a resident script or a plugin has no effects (contract §5.4).
local pure = {}
for word in ("bytes seconds unique nearest json.encode json.decode log noun fields module store cron"):gmatch("%S+") do
  pure[word] = true
end

local function refuse_effects(operation, what)
  if not core.is_loading or pure[what] then return end
  fail("invalid_state", "nothing is called while a resident script or a plugin is loaded", {
    operation = operation, hint = "in a handler, a timer, or the function start that the script returns",
  })
end
core.refuse_effects = refuse_effects

-- Calls the host for the task that runs; for a prompt that only reads it says so.
local function ask_host(...)
  local prompt = current and current.line and current.line.prompt
  if prompt and prompt.only_reads then return host_call("as_reader", ...) end
  return host_call(...)
end
core.ask_host = ask_host

-- Calls the host; waits when it says so.
function core.call(operation, ...)
  refuse_effects(operation, operation)
  return finish_call(nil, pcall(ask_host, operation, ...))
end

-- As `call`; errors say that they come from `operation`.
function core.call_for(operation, what, ...)
  refuse_effects(operation, what)
  return finish_call(operation, pcall(ask_host, what, ...))
end

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

local function enqueue(t, ...)
  ready_last = ready_last + 1
  ready[ready_last] = pack(t, ...)
end

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
    finish(t, false, make_error(cancelled_record(t)))
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

function run_ready()
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
    ready_last = ready_last + 1
    ready[ready_last] = item
  end
  return t
end
core.spawn = spawn

-- Those that a resident script spawned while it loaded wait for its start.
function core.release_held()
  local held = core.held or {}
  core.held = nil
  for index = 1, #held do ready[ready_last + index] = held[index] end
  ready_last = ready_last + #held
end

-- A cancelled task's shields hold for 10 s.
function core.limit_shields(t)
  if t.shield_guard then return end
  t.shield_guard = spawn({}, function()
    core.call("sleep", core.close_grace)
    t.shields = 0
    core.interrupt_wait(t)
  end)
end

-- Cancels a task: the wait it is in raises, and each later one.
local function cancel(t, reason, text)
  if t.is_cancelled or t.state == "done" or t.state == "failed" then return false end
  t.is_cancelled, t.reason, t.reason_text = true, reason, text
  if t.shields > 0 then
    core.limit_shields(t)
    return true
  end
  if t.co ~= running() and has_grace(t, t.co) then return true end
  core.interrupt_wait(t)
  return true
end
core.cancel = cancel

-- Makes a cancelled task's wait raise now.
function core.interrupt_wait(t)
  local token, abandon = t.token, t.abandon
  if not token then return end
  t.token, t.abandon = nil, nil
  if abandon then pcall(abandon, token) end
  local problem = cancelled_record(t)
  if blocked[token] then
    local cell = blocked[token]
    cell.n, cell[1], cell[2] = 2, false, problem
  elseif waiting[token] == t then
    waiting[token] = nil
    enqueue(t, false, problem)
  end
end

-- Waits until a task has ended; its results or its error.
function core.join(t)
  if t == current then fail("conflict", "a task can't await itself") end
  if t.state == "ready" or t.state == "running" then
    local token = core.token()
    t.joiners = t.joiners or {}
    t.joiners[#t.joiners + 1] = token
    wait(token)
  end
  t.reports = false
  for index, other in ipairs(open.failed) do
    if other == t then table.remove(open.failed, index) break end
  end
  if t.state == "done" then return unpack(t.results, 1, t.results.n) end
  error(t.error, 0)
end

-- coroutine functions through which waits pass; what the user sees of them is Lua's own behaviour.
local function wrapped(co, ok, ...)
  if ok then return ... end
  local e = ...
  if status(co) == "suspended" then close(co) end
  if type(e) == "string" then error(e, 2) end
  error(e, 0)
end

coroutine.resume = resume
coroutine.wrap = function(f)
  local co = create(f)
  return function(...) return wrapped(co, resume(co, ...)) end
end
coroutine.yield = function(...)
  if current and running() == current.co then error("attempt to yield from outside a coroutine", 2) end
  return raw_yield(...)
end

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

host.set_error(false, setmetatable({ code = "cancelled", message = "interrupted" }, core.Error))
host.set_error(true, setmetatable({ code = "resource_exhausted", message = "the code ran longer than it may" }, core.Error))

-- Entries whose module is loaded when they are first called.
local entry_modules = { run = "script", interrupt = "script", deadlock = "script", policy = "plugin",
  load_plugin = "plugin", call_plugin = "plugin", cancel_plugin_call = "replies",
  load_resident = "resident", resident_life = "life",
  hook = "hooks", hook_batch = "hooks", check = "check", repl_line = "repl", complete = "repl",
  repl_watch = "repl", repl_tasks = "repl", repl_events = "repl", repl_leave = "repl", repl_script = "repl",
  repl_watched = "repl", test_file = "test_run", test_call = "test_answers",
  test_answered = "test_answers", test_program = "test_answers", test_stuck = "test_answers", test_log = "test_answers",
  lines_of = "lines",
  repl_inside = "repl", repl_globals = "repl", prompt_ask = "prompt", prompt_complete = "prompt" }
setmetatable(entries, {
  __index = function(_, name)
    if not entry_modules[name] then return nil end
    core.need(entry_modules[name])
    return rawget(entries, name)
  end,
})

setmetatable(lunette, {
  __index = function(_, name)
    local value = core.need("library").resolve(name)
    if value ~= nil then rawset(lunette, name, value) end
    return value
  end,
  __pairs = function() return core.need("library").pairs() end,
})

if core.is_limited then
  core.need("limited").open()
end
return entries
