-- task.*: concurrency that reads as synchronous code. A task belongs to a scope or to the script; errors travel to who awaits.

local core = ...
local Task, spawn, wait, wake = core.Task, core.spawn, core.wait, core.wake
local control = core.need "control"
local cancel, join = control.cancel, control.join
local fail, call = core.fail, core.call
local pack, unpack, type, ipairs, error, pcall = table.pack, table.unpack, type, ipairs, error, pcall
local tostring, setmetatable, getmetatable, table = tostring, setmetatable, getmetatable, table

local task = {}

local function check_function(f, what)
  if type(f) ~= "function" then
    fail("invalid_argument", what .. ": expected a function, got " .. type(f), { operation = what })
  end
end

local function check_task(t, what)
  if getmetatable(t) ~= Task then
    fail("invalid_argument", what .. ": expected a task, got " .. type(t), { operation = what })
  end
end

function task.spawn(f, ...)
  check_function(f, "task.spawn")
  local t = spawn({ holds = true, reports = true }, f, ...)
  local scope = t.scope
  if scope then scope.tasks[#scope.tasks + 1] = t end
  return t
end

function task.await(t)
  check_task(t, "task.await")
  return join(t)
end

function task.cancel(t)
  check_task(t, "task.cancel")
  return cancel(t)
end

task.sleep = core.sleep

-- Runs functions or awaits tasks together; cancels the rest when one decides the outcome.
local function gather(list, what, decide)
  if type(list) ~= "table" then fail("invalid_argument", what .. ": expected a list, got " .. type(list)) end
  local tasks, own = {}, {}
  for index, item in ipairs(list) do
    if type(item) == "function" then
      item = spawn({ holds = true }, item)
      own[#own + 1] = item
    else
      check_task(item, what)
    end
    tasks[index] = item
  end
  local token = core.token()
  local open = #tasks
  local outcome
  local results = {}
  local function note(index, t)
    if outcome then return end
    open = open - 1
    if t.state == "done" then results[index] = t.results[1] end
    outcome = decide(t, index, open)
    if outcome then wake(token, true) end
  end
  if open == 0 then outcome = decide(nil, 0, 0) end
  for index, t in ipairs(tasks) do
    t.reports = false
    if t.state == "done" or t.state == "failed" or t.state == "cancelled" then
      note(index, t)
    else
      local before = t.on_finish
      t.on_finish = function(finished)
        if before then before(finished) end
        note(index, finished)
      end
    end
  end
  local ok, problem = true, nil
  if not outcome then ok, problem = pcall(wait, token) end
  for _, t in ipairs(own) do cancel(t) end
  for _, t in ipairs(own) do
    if ok then pcall(join, t) end
  end
  if not ok then error(problem, 0) end
  if outcome.error ~= nil then error(outcome.error, 0) end
  return outcome.index and results[outcome.index] or results, outcome.index
end

-- All results in order, each task's first; the first failure cancels the others and is raised.
function task.all(list)
  return (gather(list, "task.all", function(t, _, open)
    if t and t.state ~= "done" then return { error = t.error } end
    return open == 0 and {} or nil
  end))
end

-- The first result and its index; raises the last failure when all fail.
function task.any(list)
  return gather(list, "task.any", function(t, index, open)
    if not t then return { error = core.make_error { code = "invalid_argument", message = "task.any: the list is empty" } } end
    if t.state == "done" then return { index = index } end
    return open == 0 and { error = t.error } or nil
  end)
end

-- Runs f in a task of its own and cancels it when the time has passed; raises `timeout` then.
function task.timeout(duration, f, ...)
  check_function(f, "task.timeout")
  local seconds = call("seconds", duration, "task.timeout")
  local t = spawn({ holds = true }, f, ...)
  local is_late = false
  local late = "not done within " .. tostring(duration) .. (type(duration) == "number" and "s" or "")
  local timer = spawn({}, function()
    call("sleep", seconds)
    is_late = true
    cancel(t, "timeout", late)
  end)
  local results = pack(pcall(join, t))
  cancel(timer)
  if results[1] then return unpack(results, 2, results.n) end
  if not is_late and t.state ~= "cancelled" and core.current().is_cancelled then cancel(t) end
  local e = results[2]
  -- Where the function waited says nothing to whoever set the time.
  if is_late and core.is_error(e) and e.message == late then
    fail("timeout", "task.timeout: " .. late, { operation = "task.timeout", cause = e })
  end
  error(e, 0)
end

-- Runs f(scope); what it spawns belongs to the scope, which ends when all of it has. A failure cancels the rest and is raised.
function task.scope(f)
  check_function(f, "task.scope")
  local me = core.current()
  local outer = me.scope
  local scope = { tasks = {} }
  local problem, failed
  local function note(t)
    if t.state == "failed" and not failed then
      failed, problem = true, t.error
      for _, other in ipairs(scope.tasks) do
        if other ~= t then cancel(other) end
      end
      if scope.body then cancel(me, "cancelled", "a task of this scope failed") end
    end
  end
  scope.spawn = function(_, g, ...)
    check_function(g, "scope:spawn")
    local t = spawn({ holds = true }, g, ...)
    t.scope = scope
    scope.tasks[#scope.tasks + 1] = t
    return t
  end
  me.scope = setmetatable(scope, {
    __newindex = function(list, key, value) rawset(list, key, value) end,
  })
  setmetatable(scope.tasks, {
    __newindex = function(list, key, t)
      rawset(list, key, t)
      t.reports = false
      t.on_finish = note
    end,
  })
  scope.body = true
  local was_cancelled = me.is_cancelled
  local results = pack(pcall(f, scope))
  scope.body = false
  me.scope = outer
  if failed and not was_cancelled then
    -- The scope cancelled its own body: that ends here.
    me.is_cancelled, me.reason, me.reason_text = false, nil, nil
  end
  if not results[1] and not failed then
    failed, problem = true, results[2]
    for _, t in ipairs(scope.tasks) do cancel(t) end
  end
  local index = 1
  while scope.tasks[index] do
    local t = scope.tasks[index]
    local ok = pcall(join, t)
    if not ok and me.is_cancelled then
      for _, other in ipairs(scope.tasks) do cancel(other) end
    end
    index = index + 1
  end
  if failed then error(problem, 0) end
  return unpack(results, 2, results.n)
end

-- Runs f though the task is cancelled meanwhile: its waits do not raise, for up to 10 s.
function task.shield(f, ...)
  check_function(f, "task.shield")
  local me = core.current()
  me.shields = me.shields + 1
  if me.is_cancelled then control.limit_shields(me) end
  local results = pack(pcall(f, ...))
  if me.shields > 0 then me.shields = me.shields - 1 end
  if me.shields == 0 and me.shield_guard then
    cancel(me.shield_guard)
    me.shield_guard = nil
  end
  if not results[1] then error(results[2], 0) end
  return unpack(results, 2, results.n)
end

---- timers ------------------------------------------------------------------------------------

local Timer = { __name = "lunette.timer" }
Timer.__index = {
  off = function(timer)
    if timer.task then
      local t = timer.task
      timer.task = nil
      cancel(t)
    end
  end,
}
Timer.__close = Timer.__index.off
Timer.__tostring = function(timer) return "timer " .. timer.label .. (timer.task and "" or " (off)") end

local function report_failure(what, problem)
  -- The end of all that it was for is no failure of the timer's.
  if core.is_error(problem) and (problem:is "cancelled" or problem.details and problem.details.closing) then return end
  core.call("log", "error", what .. ": " .. tostring(problem), {})
end

-- Shorter ones would do nothing but run.
local least_period = 0.001

function task.every(duration, f)
  check_function(f, "task.every")
  local seconds = call("seconds", duration, "task.every")
  if seconds < least_period then
    fail("invalid_argument", "task.every: the period " .. tostring(duration) .. " is shorter than 1ms", { operation = "task.every" })
  end
  local timer = setmetatable({ label = "every " .. tostring(duration) }, Timer)
  timer.task = spawn({ f = f, label = timer.label }, function()
    local due = core.host.clock() + seconds
    while timer.task do
      local now = core.host.clock()
      if due > now then call("sleep", due - now) end
      if not timer.task then return end
      local ok, problem = pcall(f)
      if not ok and timer.task and not core.current().is_cancelled then report_failure("task.every", problem) end
      -- A run that took longer than the period skips the ones it missed.
      now = core.host.clock()
      due = due + seconds
      if due < now then due = now + seconds - (now - due) % seconds end
    end
  end)
  return timer
end

-- The next time after `from` (unix seconds) that a cron expression names; nil when there is none. And whether a test moves the time.
local function next_time(operation, text, from, zone)
  return core.call_for(operation, "cron", text, from, zone)
end
function task.next_cron_time(text, from, options)
  local operation = "task.next_cron_time"
  local function expect(kind, value, what)
    if type(value) == kind then return end
    fail("invalid_argument", operation .. ": expected " .. what .. ", got " .. type(value), { operation = operation })
  end
  expect("string", text, "a cron expression")
  expect("number", from, "unix seconds")
  if options ~= nil then expect("table", options, "a table of options") end
  return (next_time(operation, text, from, options and options.time_zone or "local"))
end

-- How late a run may be and still count as one in time: a machine may have slept, or its clock been set.
local punctual = 60
-- The clock is looked at this often, since it may be set while a timer sleeps.
local look = 30
local most_queued = 1000

-- Sleeps until the clock shows `due`. False: the clock was set back so far that another time is due first.
local function sleep_until(due, timer, is_virtual)
  local before = core.host.now()
  while timer.task do
    local now = core.host.now()
    if now >= due then return true end
    if now < before - punctual then return false end
    before = now
    -- Nobody sets a test's clock: from one time to the next.
    call("sleep", (is_virtual or due - now < look) and due - now or look)
  end
  return true
end

local cron_options = { name = true, time_zone = true, overlap = true, catch_up = true }

local function check_cron_options(options)
  local unknown = core.need("options").first_unknown(options, cron_options)
  if unknown then
    local words = { "name", "time_zone", "overlap", "catch_up" }
    local near = core.host.call("nearest", unknown, words)
    fail("invalid_argument", "unknown option", { operation = "task.cron", path = unknown,
      hint = near and "did you mean \"" .. near .. "\"?" or "known: " .. table.concat(words, ", ") })
  end
  for _, key in ipairs { "name", "overlap", "time_zone" } do
    local value = options[key]
    if value ~= nil and type(value) ~= "string" then
      fail("invalid_argument", "expected a string, got " .. type(value), { operation = "task.cron", path = key })
    end
  end
  local overlap = options.overlap or "skip"
  if overlap ~= "skip" and overlap ~= "queue" and overlap ~= "allow" then
    fail("invalid_argument", "\"" .. overlap .. "\" is not one of \"skip\", \"queue\", \"allow\"", {
      operation = "task.cron", path = "overlap",
    })
  end
  if options.catch_up and not options.name then
    fail("invalid_argument", "catch_up needs a name: the last run is remembered by it", { operation = "task.cron", path = "name" })
  end
end

-- When this timer ran last, as its script's store has it: what catch_up goes by.
local function remembered(name) return core.need("store").get("cron/" .. name) end
local function remember(name, due)
  local ok, problem = pcall(core.need("store").set, "cron/" .. name, due)
  if not ok then report_failure("task.cron " .. name, problem) end
end

-- The latest time up to now that was missed since `last`, no longer ago than `span`.
local function missed_time(text, zone, last, now, span)
  local from = span and now - span > last and now - span or last
  local due = next_time("task.cron", text, from, zone)
  return due and due <= now and due or nil
end

function task.cron(text, options, f)
  if type(options) == "function" then options, f = {}, options end
  check_function(f, "task.cron")
  if type(text) ~= "string" then fail("invalid_argument", "task.cron: expected a cron expression, got " .. type(text)) end
  if options ~= nil and type(options) ~= "table" then
    fail("invalid_argument", "task.cron: expected a table of options, got " .. type(options))
  end
  options = options or {}
  check_cron_options(options)
  local zone, overlap, name = options.time_zone or "local", options.overlap or "skip", options.name
  local span = options.catch_up and options.catch_up ~= true and call("seconds", options.catch_up, "task.cron") or nil
  -- Here, so that what is wrong with them is an error of this line.
  next_time("task.cron", text, core.host.now(), zone)
  local timer = setmetatable({ name = name, label = "cron \"" .. text .. "\"" .. (name and " " .. name or "") }, Timer)
  local busy, queued = 0, 0
  local function run()
    busy = busy + 1
    repeat
      local ok, problem = pcall(f)
      -- One that was ended with its script, or its test, has not failed.
      if not ok and not core.current().is_cancelled then report_failure("task.cron " .. (name or text), problem) end
      local again = queued > 0
      if again then queued = queued - 1 end
    until not again
    busy = busy - 1
  end
  local function begin(due)
    if options.catch_up then remember(name, due) end
    if busy == 0 or overlap == "allow" then spawn({}, run)
    elseif overlap == "queue" and queued < most_queued then queued = queued + 1 end
  end
  timer.task = spawn({ f = f, label = timer.label }, function()
    local from = core.host.now()
    if options.catch_up then
      local ok, last = pcall(remembered, name)
      if not ok then report_failure("task.cron " .. name, last)
      elseif last then
        local due = missed_time(text, zone, last, from, span)
        if due then begin(from) end
      else
        remember(name, from)
      end
    end
    while timer.task do
      local due, is_virtual = next_time("task.cron", text, from, zone)
      if not due then return end
      if sleep_until(due, timer, is_virtual) then
        if not timer.task then return end
        local now = core.host.now()
        if now - due <= punctual or options.catch_up and (not span or now - due <= span) then begin(due) end
        -- Times that have passed meanwhile are past.
        from = now - due <= punctual and due or now
      else
        from = core.host.now()
      end
    end
  end)
  return timer
end

function Task.__index.cancel(t) return cancel(t) end
function Task.__index.await(t) return join(t) end
Task.__tostring = function(t) return "task (" .. t.state .. ")" end

return task
