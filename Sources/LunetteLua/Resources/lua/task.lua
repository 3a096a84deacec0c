-- task.*: concurrency that reads as synchronous code. A task belongs to a scope or to the script; errors travel to who awaits.

local core = ...
local Task, spawn, cancel, join, wait, wake = core.Task, core.spawn, core.cancel, core.join, core.wait, core.wake
local fail, call = core.fail, core.call
local pack, unpack, type, ipairs, error, pcall = table.pack, table.unpack, type, ipairs, error, pcall

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

function task.sleep(duration) call("sleep", duration) end

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
  local seconds = call("seconds", duration)
  local t = spawn({ holds = true }, f, ...)
  local is_late = false
  local timer = spawn({}, function()
    call("sleep", seconds)
    is_late = true
    cancel(t, "timeout", "not done within " .. tostring(duration) .. (type(duration) == "number" and "s" or ""))
  end)
  local results = pack(pcall(join, t))
  cancel(timer)
  if results[1] then return unpack(results, 2, results.n) end
  if not is_late and t.state ~= "cancelled" and core.current().is_cancelled then cancel(t) end
  error(results[2], 0)
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
  if me.is_cancelled then core.limit_shields(me) end
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

local function report_failure(what, problem)
  core.call("log", "error", what .. ": " .. tostring(problem), {})
end

function task.every(duration, f)
  check_function(f, "task.every")
  local seconds = call("seconds", duration)
  if seconds <= 0 then fail("invalid_argument", "task.every: the period must be longer than nothing") end
  local timer = setmetatable({}, Timer)
  timer.task = spawn({ f = f, label = "every " .. tostring(duration) }, function()
    local due = core.host.clock() + seconds
    while timer.task do
      local now = core.host.clock()
      if due > now then call("sleep", due - now) end
      if not timer.task then return end
      local ok, problem = pcall(f)
      if not ok and timer.task then report_failure("task.every", problem) end
      -- A run that took longer than the period skips the ones it missed.
      now = core.host.clock()
      due = due + seconds
      if due < now then due = now + seconds - (now - due) % seconds end
    end
  end)
  return timer
end

local cron_fields = {
  { "minute", 0, 59 }, { "hour", 0, 23 }, { "day", 1, 31 },
  { "month", 1, 12, { "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec" } },
  { "weekday", 0, 7, { [0] = "sun", "mon", "tue", "wed", "thu", "fri", "sat" } },
}

local function cron_number(text, field)
  local number = tonumber(text)
  for index, name in pairs(field[4] or {}) do
    if name == text:lower() then number = index end
  end
  if not number or number < field[2] or number > field[3] or number % 1 ~= 0 then
    fail("invalid_argument", "\"" .. text .. "\" is not a " .. field[1] .. " of a cron expression")
  end
  return number
end

local function parse_cron(text)
  local shorts = {
    ["@hourly"] = "0 * * * *", ["@daily"] = "0 0 * * *", ["@weekly"] = "0 0 * * 0", ["@monthly"] = "0 0 1 * *",
    ["@yearly"] = "0 0 1 1 *",
  }
  local words = {}
  for word in (shorts[text] or text):gmatch("%S+") do words[#words + 1] = word end
  if #words ~= 5 then
    fail("invalid_argument", "\"" .. text .. "\" is not a cron expression", {
      hint = "five fields: minute hour day month weekday",
    })
  end
  local plan = {}
  for index, field in ipairs(cron_fields) do
    local set = {}
    for part in words[index]:gmatch("[^,]+") do
      local range, step = part:match("^(.-)/(%d+)$")
      range = range or part
      local first, last = range:match("^(%w+)-(%w+)$")
      if range == "*" then first, last = field[2], field[3]
      elseif first then first, last = cron_number(first, field), cron_number(last, field)
      else
        first = cron_number(range, field)
        last = step and field[3] or first
      end
      for number = first, last, math.max(1, tonumber(step or 1)) do set[number] = true end
    end
    plan[field[1]] = set
  end
  if plan.weekday[7] then plan.weekday[0] = true end
  plan.any_day, plan.any_weekday = words[3] == "*", words[5] == "*"
  return plan
end

-- The next time after `from` (unix seconds) that a plan names; nothing within five years: nil.
local function next_time(plan, from, is_utc)
  local time = from - from % 60 + 60
  local mark = is_utc and "!*t" or "*t"
  for _ = 1, 5 * 366 * 24 * 60 do
    local t = os.date(mark, time)
    local day_fits = plan.day[t.day]
    local weekday_fits = plan.weekday[t.wday - 1]
    local fits_day = (plan.any_day and weekday_fits) or (plan.any_weekday and day_fits)
      or (not plan.any_day and not plan.any_weekday and (day_fits or weekday_fits))
    if not plan.month[t.month] or not fits_day then
      time = time + (24 * 60 - t.hour * 60 - t.min) * 60
    elseif not plan.hour[t.hour] then
      time = time + (60 - t.min) * 60
    elseif not plan.minute[t.min] then
      time = time + 60
    else
      return time
    end
  end
end
task.next_cron_time = function(text, from, options)
  return next_time(parse_cron(text), from, options and options.time_zone == "UTC")
end

function task.cron(text, options, f)
  if type(options) == "function" then options, f = {}, options end
  check_function(f, "task.cron")
  options = options or {}
  local zone = options.time_zone
  if zone and zone ~= "UTC" and zone ~= "local" then
    fail("unsupported", "task.cron: time_zone \"" .. tostring(zone) .. "\"", { hint = "\"UTC\" or \"local\" in this version" })
  end
  local overlap = options.overlap or "skip"
  local plan = parse_cron(text)
  local timer = setmetatable({ name = options.name }, Timer)
  local busy, queued = 0, 0
  local function run()
    busy = busy + 1
    local ok, problem = pcall(f)
    if not ok then report_failure("task.cron " .. (options.name or text), problem) end
    busy = busy - 1
    if queued > 0 and busy == 0 then
      queued = queued - 1
      run()
    end
  end
  timer.task = spawn({ f = f, label = "cron \"" .. text .. "\"" .. (options.name and " " .. options.name or "") }, function()
    local due = core.host.now()
    while timer.task do
      due = next_time(plan, due, zone == "UTC")
      if not due then return end
      local now = core.host.now()
      if due > now then call("sleep", due - now) end
      if not timer.task then return end
      if busy == 0 or overlap == "allow" then spawn({}, run)
      elseif overlap == "queue" then queued = queued + 1 end
    end
  end)
  return timer
end

Task.__index = {
  cancel = function(t) return cancel(t) end,
  await = function(t) return join(t) end,
}
Task.__tostring = function(t) return "task (" .. t.state .. ")" end

return task
