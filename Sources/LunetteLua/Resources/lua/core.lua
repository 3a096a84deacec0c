-- The heart of the Lua host: errors, waiting, tasks. Runs once when a state opens; its argument is the host's C functions.
--
-- Every script, REPL line and handler runs in a task: a coroutine that this file schedules. Whoever waits yields
-- (WAIT, token) up through any coroutine of the user's own; `deliver(token, packet)` resumes it. Tokens above zero are the
-- host's (a call under way, a timer), below zero this file's own (a task joined, a queue read).

local host = ...
local WAIT, host_call, unpack_packet = host.WAIT, host.call, host.unpack
local resume, resume_task = host.resume, host.resume_task
local create, raw_yield, isyieldable = coroutine.create, coroutine.yield, coroutine.isyieldable
local running, status, close = coroutine.running, coroutine.status, coroutine.close
local error, pcall, xpcall, type, tostring = error, pcall, xpcall, type, tostring
local setmetatable, getmetatable, rawget, rawset = setmetatable, getmetatable, rawget, rawset
local pack, unpack, ipairs = table.pack, table.unpack, ipairs
local load = load

local core = { host = host, lunette = {}, entries = {}, is_limited = host.is_limited }
local lunette, entries = core.lunette, core.entries
lunette.null = host.null

-- Loads a module of the stdlib at its first use: opening a state must be fast.
local modules = {}
function core.need(name)
  local module = modules[name]
  if module == nil then
    module = assert(load(host.module(name), "=[lunette " .. name .. "]", "t"))(core)
    modules[name] = module
  end
  return module
end

---- errors ----------------------------------------------------------------------------------

local Error = { __name = "lunette.error" }

local function one_line(e)
  local text = e.message or e.code or "failed"
  if e.path then text = e.path .. ": " .. text end
  if e.path and e.operation then text = e.operation .. ": " .. text end
  if e.where then text = e.where .. ": " .. text end
  return text
end

Error.__index = {
  is = function(e, code) return rawget(e, "code") == code end,
}
Error.__tostring = one_line
core.Error = Error

local function is_error(value) return type(value) == "table" and getmetatable(value) == Error end
core.is_error = is_error

local function adopt(record)
  if type(record.cause) == "table" then adopt(record.cause) end
  return setmetatable(record, Error)
end

-- Makes an error object of a record, a text of the bridge's ("host:…") or anything raised.
local function make_error(what, operation)
  if is_error(what) then return what end
  local record
  if type(what) == "table" and what.code then
    record = what
  elseif type(what) == "string" and what:sub(1, 5) == "host:" then
    local path, message = what:sub(6):match("^(%S-): (.*)$")
    record = { code = "invalid_argument", message = message or what:sub(6), path = path }
  else
    record = { code = "script_failed", message = tostring(what) }
  end
  if operation and not record.operation then record.operation = operation end
  adopt(record)
  if not record.where then
    local source, line = host.where()
    if source then record.where = source .. ":" .. line end
  end
  if not record.traceback then record.traceback = host.traceback(nil, nil, 2) end
  return record
end
core.make_error = make_error

function core.fail(code, message, fields)
  local record = { code = code, message = message }
  for key, value in next, fields or {} do record[key] = value end
  error(make_error(record), 0)
end
local fail = core.fail

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

-- Waits for a token. `abandon` is called when the task is cancelled meanwhile.
local function wait(token, abandon)
  local t = current
  if not t then error("waiting outside a task", 0) end
  if t.is_cancelled and t.shields == 0 then
    if abandon then abandon() end
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

local function finish_call(operation, ok, first, ...)
  if not ok then error(make_error(first, operation), 0) end
  if first ~= WAIT then return first, ... end
  local token = ...
  local function abandon() host_call("cancel", token) end
  if operation then return named(operation, pcall(wait, token, abandon)) end
  return wait(token, abandon)
end

-- Calls the host; waits when it says so.
function core.call(operation, ...) return finish_call(nil, pcall(host_call, operation, ...)) end

-- As `call`; errors say that they come from `operation`.
function core.call_for(operation, ...) return finish_call(operation, pcall(host_call, ...)) end

---- tasks -----------------------------------------------------------------------------------

local Task = { __name = "lunette.task" }
core.Task = Task
local holding = 0        -- tasks that keep the script alive
local alive = {}         -- those tasks
local main               -- the main chunk's task
local open_tasks = 0     -- all that have not ended
local most_tasks = 1000  -- of limited code: each costs memory that only the collector gives back
local failed = {}        -- spawned tasks that failed and that nobody awaited

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

local function finish(t, ok, ...)
  t.token, t.abandon = nil, nil
  open_tasks = open_tasks - 1
  if ok then
    t.state, t.results = "done", pack(...)
  else
    t.state, t.error = "failed", (...)
    if t.is_cancelled then t.state = "cancelled" end
  end
  if t.holds then
    t.holds, alive[t] = false, nil
    holding = holding - 1
  end
  if t.on_finish then t.on_finish(t) end
  local joiners = t.joiners
  t.joiners = nil
  for _, token in ipairs(joiners or {}) do wake(token, true) end
  if not ok and not joiners and t.reports and not t.is_cancelled then failed[#failed + 1] = t end
end

local function body(t, f, ...)
  finish(t, xpcall(f, on_error, ...))
end

local function run(t, ...)
  if t.is_cancelled and not t.has_started then
    finish(t, false, make_error(cancelled_record(t)))
    return
  end
  t.has_started = true
  local previous = current
  current = t
  local ok, first = resume_task(t.co, ...)
  current = previous
  if t.state == "done" or t.state == "failed" or t.state == "cancelled" then return end
  if not ok then
    -- Only out of memory or stack ends here: xpcall takes the rest.
    pcall(close, t.co)
    finish(t, false, first)
  elseif first ~= WAIT then
    enqueue(t, false, { code = "invalid_state", message = "attempt to yield from outside a coroutine" })
  end
end

function run_ready()
  while ready_first <= ready_last do
    local item = ready[ready_first]
    ready[ready_first] = nil
    ready_first = ready_first + 1
    run(item[1], unpack(item, 2, item.n))
  end
  ready_first, ready_last = 1, 0
end
core.run_ready = run_ready

-- Makes a task of a function; it starts when the tasks before it have waited.
-- options: holds (keeps the script alive), reports (its failure is the script's when nobody awaits it)
local function spawn(options, f, ...)
  open_tasks = open_tasks + 1
  if core.is_limited and open_tasks > most_tasks then
    open_tasks = open_tasks - 1
    fail("resource_exhausted", "more than " .. most_tasks .. " tasks at once")
  end
  local t = setmetatable({ state = "ready", shields = 0, holds = options.holds, reports = options.reports }, Task)
  if current then t.scope, t.cause = current.scope, current.cause end
  t.co = create(body)
  if t.holds then
    holding, alive[t] = holding + 1, true
  end
  enqueue(t, t, f, ...)
  return t
end
core.spawn = spawn

-- Cancels a task: the wait it is in raises, and each later one.
local function cancel(t, reason, text)
  if t.is_cancelled or t.state == "done" or t.state == "failed" then return false end
  t.is_cancelled, t.reason, t.reason_text = true, reason, text
  if t.shields > 0 then return true end
  core.interrupt_wait(t)
  return true
end
core.cancel = cancel

-- Makes a cancelled task's wait raise now.
function core.interrupt_wait(t)
  local token, abandon = t.token, t.abandon
  if not token then return end
  t.token, t.abandon = nil, nil
  if abandon then pcall(abandon) end
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
  for index, other in ipairs(failed) do
    if other == t then table.remove(failed, index) break end
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

-- Tells the host when the main chunk and the spawned tasks have ended.
function core.check_end()
  if not main or holding > 0 or core.is_finished then return end
  core.is_finished = true
  local outcome = { ok = main.state == "done", values = nil }
  if main.state == "done" then
    outcome.text = core.result_text and core.result_text(main.results)
  else
    outcome.error = core.report(main)
  end
  local others = {}
  for index, t in ipairs(failed) do others[index] = core.report(t) end
  outcome.failed = others
  failed = {}
  main = nil
  host_call("finished", outcome)
end

-- What to print about a task that failed.
function core.report(t)
  local e = t.error
  if is_error(e) then
    return {
      code = e.code, message = tostring(e), hint = e.hint, traceback = e.traceback, path = e.path, operation = e.operation,
      cause = e.cause and tostring(e.cause), is_cancelled = t.is_cancelled,
    }
  end
  local kind = type(e)
  local meta = kind == "table" and getmetatable(e)
  local text
  if kind == "string" or (type(meta) == "table" and meta.__tostring) then
    text = tostring(e)
  else
    text = "(error object is " .. (kind == "nil" and "nil" or "a " .. kind .. " value") .. ")"
  end
  return { code = "script_failed", message = text, traceback = t.traceback, is_cancelled = t.is_cancelled }
end

-- Cancels every task that holds the script.
local function cancel_all(reason, text)
  local tasks = {}
  for t in next, alive do tasks[#tasks + 1] = t end
  for _, t in ipairs(tasks) do cancel(t, reason, text) end
end

-- Starts the main task of a script, a chunk or a REPL line. When it fails, what it spawned is cancelled.
function core.start_main(f, ...)
  core.is_finished = false
  main = spawn({ holds = true }, f, ...)
  main.on_finish = function(t)
    if t.state ~= "done" then cancel_all("cancelled", "the script has failed") end
  end
  run_ready()
  core.check_end()
end

-- Ctrl-C: cancels the main task and what it spawned; a second one leaves to the host.
function entries.interrupt(what)
  cancel_all("cancelled", what.text or "interrupted")
  run_ready()
  core.check_end()
end

function entries.deadlock()
  cancel_all("would_block", "every task waits for another, and nothing else can come")
  run_ready()
  core.check_end()
end

-- Compiles what may be an expression list, so that its value is returned; nil when it isn't one.
-- Not as a tail call: an error would have lost the line it comes from.
function core.compile_expression(source, name, prefix)
  prefix = prefix or ""
  local f = load(prefix .. "return " .. source, name, "t")
  if not f then return nil end
  return load(prefix .. "local function values__(...) return ... end return values__(" .. source .. "\n)", name, "t") or f
end

-- Runs source: {source, name, arguments, prints, globals, directory}
function entries.run(what)
  core.need("library").open(what)
  local mode = core.is_limited and "t" or "bt"
  local source = what.source:gsub("^#[^\n]*", "")
  local f, problem
  if what.prints then
    f = core.compile_expression(source, what.name)
    core.result_text = function(results) return core.need("inspect").results(results) end
  end
  if not f then f, problem = load(source, what.name, mode) end
  if not f then
    host_call("finished", { ok = false, error = { code = "script_failed", message = problem }, failed = {} })
    return
  end
  local arguments = what.arguments or {}
  core.start_main(f, unpack(arguments, 1, #arguments))
end

host.set_error(false, setmetatable({ code = "cancelled", message = "interrupted" }, Error))
host.set_error(true, setmetatable({ code = "resource_exhausted", message = "the code ran longer than it may" }, Error))

-- Entries whose module is loaded when they are first called.
local entry_modules = { hook = "hooks", check = "check", repl_line = "repl", complete = "repl" }
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
})


if core.is_limited then
  -- Everything the stdlib keeps of Lua's own libraries is taken before they are closed.
  core.need "library"
  core.need "task"
  core.need "plugin"
  core.need("limited").open()
end
return entries
