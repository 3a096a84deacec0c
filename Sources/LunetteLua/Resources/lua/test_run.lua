-- Runs the tests of a file: it is loaded, which collects them; then each runs in a task of its own on an engine of its own.

local core = ...
local host, spawn, cancel = core.host, core.spawn, core.need("control").cancel
local host_call, call_for = host.call, core.call_for
local is_error, text_of = core.is_error, core.text_of
local type, tostring, next, ipairs, pcall = type, tostring, next, ipairs, pcall
local setmetatable, concat = setmetatable, table.concat

core.need "script"
core.need "testing"
local note_failed = core.note_failed
core.need "test_answers"
-- A task that fails unawaited is its test's failure, no line of a log.
core.note_failed = note_failed
local world = core.test_world
local new_group, skip_mark, failed_expectation = world.new_group, world.skip_mark, world.failed_expectation

local function names_of(item)
  local names = { item.name }
  local outer = item.parent
  while outer and outer.name do
    table.insert(names, 1, outer.name)
    outer = outer.parent
  end
  return names
end

-- The nearest option of a test or a group around it.
local function option(item, name)
  while item do
    if item.options and item.options[name] ~= nil then return item.options[name] end
    item = item.parent
  end
end

local function place_in_test(traceback)
  local escaped = world.file:gsub("%p", "%%%0")
  local line = type(traceback) == "string" and traceback:match(escaped .. ":(%d+): ") or nil
  return line and world.file .. ":" .. line
end

-- An error as a failure; nil when it is told already.
local function failure_of(problem, traceback)
  if is_error(problem) and problem.details == failed_expectation then return nil end
  local failure
  if is_error(problem) then
    local message = problem.message or problem.code
    if problem.code == "cancelled" then message = host_call("test.why_late") or message end
    if problem.path then message = problem.path .. ": " .. message end
    if problem.operation and not message:find(problem.operation, 1, true) then message = problem.operation .. ": " .. message end
    failure = { message = message, hint = problem.hint, place = place_in_test(problem.traceback) or problem.where }
    if problem.code and problem.code ~= "cancelled" and not world.current.stuck then
      failure.message = failure.message .. " (" .. problem.code .. ")"
    end
  else
    local place, message = text_of(problem):match("^(.-:%d+): (.*)$")
    failure = { message = message or text_of(problem), place = place_in_test(traceback) or place }
    if place and failure.place ~= place then failure.message = text_of(problem) end
  end
  if world.current.stuck == "would_block" then
    failure.hint = "test.program says when programs end, test.exit ends one, test.clock.advance moves the time"
  end
  return failure
end

-- Runs a step of a test in a task of its own; notes what went wrong. Returns whether all went well.
local function step(f)
  local t = spawn({}, f)
  world.current.task = t
  local ok, problem = pcall(core.need("control").join, t)
  world.current.task = nil
  if ok then return true end
  if type(problem) == "table" and problem[1] == skip_mark then
    world.current.skipped = problem.reason
    return false
  end
  local failure = failure_of(problem, t.traceback)
  if failure then world.current.failures[#world.current.failures + 1] = failure end
  if failure == nil and #world.current.failures == 0 then world.current.failures[1] = { message = text_of(problem) } end
  return false
end

local kept = setmetatable({}, { __mode = "k" })   -- tasks that no test has made

local function new_state()
  return {
    failures = {}, log = {}, calls = {}, stubs = {}, faults = {}, programs = {}, execs = {}, since = world.is_simulated and 0 or host.now(),
  }
end

-- Ends what the test has left running, and forgets its handlers.
local function clean_up()
  local left = {}
  for t in next, core.open.tasks do
    if not kept[t] and t ~= core.current() then left[#left + 1] = t end
  end
  for _, t in ipairs(left) do
    t.reports = false
    cancel(t, "cancelled", "the test is over")
  end
  core.run_ready()
  for index = #core.open.failed, 1, -1 do
    local failure = failure_of(core.open.failed[index].error, core.open.failed[index].traceback)
    if failure then world.current.failures[#world.current.failures + 1] = failure end
    core.open.failed[index] = nil
  end
end

local function begin_engine() call_for("test.begin", "test.begin_engine") end
local function end_engine()
  core.need("subscriptions").forget()
  call_for("test.end", "test.end_engine")
end

local function run_test(item, is_shared)
  local skip_reason = option(item, "skip")
  local result = { file = world.file, names = names_of(item) }
  host_call("test.begin", host_call("seconds", option(item, "timeout") or 10))
  if skip_reason then
    result.status, result.reason = "skipped", tostring(skip_reason)
    host_call("test.result", result)
    return
  end
  local shared = world.current
  if is_shared then
    -- What the group has played stays; what this test adds goes with it.
    world.current = setmetatable({ failures = {}, log = {}, calls = shared.calls }, { __index = shared })
    for _, key in next, { "stubs", "faults", "programs", "execs" } do
      world.current[key] = {}
      for index, entry in ipairs(shared[key]) do world.current[key][index] = entry end
    end
  else
    world.current = new_state()
    begin_engine()
  end
  core.look_at()
  local outer, before, after = item.parent, {}, {}
  while outer do
    for index = #outer.before, 1, -1 do table.insert(before, 1, outer.before[index]) end
    for _, f in ipairs(outer.after) do after[#after + 1] = f end
    outer = outer.parent
  end
  local ok = true
  for _, f in ipairs(before) do ok = ok and step(f) end
  if ok then step(item.f) end
  world.current.stuck = nil
  if core.current().is_cancelled then
    -- Ctrl-C: nothing waits any more, and the process ends.
    result.status, result.failures, result.log = "failed", { { message = "interrupted" } }, world.current.log
    host_call("test.result", result)
    return
  end
  for _, f in ipairs(after) do step(f) end
  clean_up()
  result.failures, result.log, result.reason = world.current.failures, world.current.log, world.current.skipped
  result.status = #world.current.failures > 0 and "failed" or world.current.skipped and "skipped" or "passed"
  local state = world.current
  if not is_shared then
    world.current.task = nil
    local closed, problem = pcall(end_engine)
    if not closed and not core.current().is_cancelled then
      state.failures[#state.failures + 1] = failure_of(problem)
      result.status = "failed"
    end
  end
  world.current = shared
  host_call("test.result", result)
end

local function is_wanted(item, filter)
  return filter == nil or concat(names_of(item), " "):find(filter) ~= nil
end

local function has_wanted(inner, filter)
  for _, item in ipairs(inner.items) do
    if item.f and is_wanted(item, filter) or item.items and has_wanted(item, filter) then return true end
  end
  return false
end

local run_group

local function run_items(inner, filter, is_shared)
  for _, item in ipairs(inner.items) do
    if core.current().is_cancelled then return end
    if item.items then run_group(item, filter, is_shared)
    elseif is_wanted(item, filter) then run_test(item, is_shared) end
  end
end

-- Fails every test of a group whose engine can't be made ready.
local function fail_all(inner, filter, failures, log)
  for _, item in ipairs(inner.items) do
    if item.items then
      fail_all(item, filter, failures, log)
    elseif is_wanted(item, filter) then
      host_call("test.begin", 10)
      host_call("test.result", { file = world.file, names = names_of(item), status = "failed", failures = failures, log = log })
    end
  end
end

function run_group(inner, filter, is_shared)
  if not inner.options.shared or is_shared or not has_wanted(inner, filter) or option(inner, "skip") then
    run_items(inner, filter, is_shared)
    return
  end
  host_call("test.begin", host_call("seconds", option(inner, "timeout") or 10))
  world.current = new_state()
  begin_engine()
  local ok = true
  for _, f in ipairs(inner.before_all) do ok = ok and step(f) end
  local state = world.current
  if ok then
    run_items(inner, filter, true)
  elseif state.skipped and #state.failures == 0 then
    inner.options = { skip = state.skipped }
    run_items(inner, filter, true)
  else
    fail_all(inner, filter, state.failures, state.log)
  end
  if core.current().is_cancelled then return end
  world.current = state
  world.current.failures = {}
  for _, f in ipairs(inner.after_all) do step(f) end
  clean_up()
  local failures = world.current.failures
  end_engine()
  world.current = nil
  if #failures > 0 then
    host_call("test.begin", 10)
    host_call("test.result", {
      file = world.file, names = { inner.name, "after_all" }, status = "failed", failures = failures, log = state.log,
    })
  end
end

-- {source, name, script, directory, is_simulated, filter}: loads a test file and runs its tests.
function core.entries.test_file(what)
  world.file, world.is_simulated = what.script, what.is_simulated
  world.folder = world.file:match("^(.*)/[^/]*$") or ""
  if world.file:match("^/[^/]*$") then world.folder = "/" end
  what.globals = true
  core.need("globals").open(what)
  if world.is_simulated then core.need("capture").time() end
  core.need("capture").no_exit(function(message)
    local source, line = host.where()
    local state = world.current
    -- Whoever catches the error has called it all the same.
    if state then
      state.failures[#state.failures + 1] = {
        message = message, place = source and source .. ":" .. line,
        hint = "a script that ends so is tested with test.load, which makes it script.code",
      }
      core.fail("cancelled", message, { details = failed_expectation })
    end
    core.fail("script_failed", message)
  end)
  local f, problem = load(what.source:gsub("^#[^\n]*", ""), what.name, "t")
  if not f then
    host_call("finished", { ok = false, error = { code = "script_failed", message = problem }, failed = {} })
    return
  end
  core.start_main(function()
    kept[core.current()] = true
    local root = new_group(nil, nil, {})
    world.group = root
    f()
    world.group = nil
    for t in next, core.open.tasks do kept[t] = true end
    run_items(root, what.filter, false)
  end)
end

return {}
