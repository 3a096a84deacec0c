-- lunette.test: groups and tests, and what a test plays of the world: programs, images, failures, time.
--
-- A file is loaded, which collects its tests; then they are run one after the other, each in a task of its own on an engine of its own.

local core = ...
local host, fail, spawn, cancel = core.host, core.fail, core.spawn, core.cancel
local host_call, call_for = host.call, core.call_for
local make_error, is_error, text_of = core.make_error, core.is_error, core.text_of
local hooks, nouns = core.need "hooks", core.need "nouns"
local run = core.need("plugin").run
local type, tostring, next, ipairs, pcall, error = type, tostring, next, ipairs, pcall, error
local setmetatable, rawget, concat = setmetatable, rawget, table.concat

local test = {}
core.testing = test

local is_simulated = true
local file, folder          -- the test file as it was named, and its folder
local group                 -- the one that describe is in
local current               -- what runs: {failures, log, calls, stubs, faults, programs, execs, since, task}

---- small things ------------------------------------------------------------------------------

local function want(value, kind, what)
  if type(value) ~= kind then
    fail("invalid_argument", what .. ": expected a " .. kind .. ", got " .. type(value), { operation = what:match("^test%.%w+") })
  end
end

local function known_only(options, known, what)
  want(options, "table", what)
  for key in next, options do
    if not known[key] then
      local words = {}
      for word in next, known do words[#words + 1] = word end
      local near = host_call("nearest", tostring(key), words)
      fail("invalid_argument", what .. ": unknown option", {
        path = tostring(key), hint = near and "did you mean \"" .. near .. "\"?" or nil,
      })
    end
  end
end

-- `redis-*` as a Lua pattern.
local function pattern_of(glob)
  return "^" .. glob:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*") .. "$"
end

local function fits(text, glob) return glob == nil or text ~= nil and tostring(text):find(pattern_of(glob)) ~= nil end

local skip_mark = setmetatable({}, { __tostring = function() return "skipped" end })

local function skip(reason) error({ skip_mark, reason = reason }, 0) end

local function needs_simulation(what)
  if not is_simulated then skip(what .. " needs the simulated engine") end
end

local function in_test(what)
  if not current then
    fail("invalid_state", what .. " is called outside a test", {
      operation = what, hint = "call it in test.it, test.before_each or test.after_each",
    })
  end
  return current
end

---- groups and tests --------------------------------------------------------------------------

local group_options = { shared = true, timeout = true, skip = true }
local test_options = { timeout = true, skip = true }

local function new_group(name, parent, options)
  return { name = name, parent = parent, options = options, items = {}, before = {}, after = {}, before_all = {}, after_all = {} }
end

local function split_options(options, f)
  if type(options) == "function" and f == nil then return {}, options end
  return options or {}, f
end

local function while_loading(what)
  if not group then
    fail("invalid_state", what .. " is called inside a test", { operation = what, hint = "in a test.describe, or at the file's top" })
  end
end

-- A group of tests. shared: one engine for all of it. skip: why none of it is run. timeout: of each test, in the wall's time.
function test.describe(name, options, f)
  options, f = split_options(options, f)
  want(name, "string", "test.describe")
  want(f, "function", "test.describe")
  known_only(options, group_options, "test.describe")
  while_loading "test.describe"
  local inner = new_group(name, group, options)
  group.items[#group.items + 1] = inner
  local outer = group
  group = inner
  local ok, problem = pcall(f)
  group = outer
  if not ok then error(problem, 0) end
end

-- One test.
function test.it(name, options, f)
  options, f = split_options(options, f)
  want(name, "string", "test.it")
  want(f, "function", "test.it")
  known_only(options, test_options, "test.it")
  while_loading "test.it"
  group.items[#group.items + 1] = { name = name, f = f, parent = group, options = options }
end

local function collector(what, key)
  return function(f)
    want(f, "function", what)
    while_loading(what)
    if key:find "_all" and not group.options.shared then
      fail("invalid_state", what .. " is for a group with shared = true: each test has an engine of its own else", { operation = what })
    end
    local list = group[key]
    list[#list + 1] = f
  end
end

test.before_each = collector("test.before_each", "before")
test.after_each = collector("test.after_each", "after")
test.before_all = collector("test.before_all", "before_all")
test.after_all = collector("test.after_all", "after_all")

-- Ends the test that runs; it counts as skipped.
function test.skip(reason)
  want(reason, "string", "test.skip")
  skip(reason)
end

---- what should be ----------------------------------------------------------------------------

local failed_expectation = {}

test.expect = core.need("expect").value(function(failure)
  local state = in_test "test.expect"
  state.failures[#state.failures + 1] = failure
  -- Ends the test; caught by the code under test, it has failed all the same.
  error(setmetatable({ code = "script_failed", message = failure.message, details = failed_expectation }, core.Error), 0)
end)

---- time --------------------------------------------------------------------------------------

test.clock = {}

-- Moves the time on; what is due wakes in its order, and all that comes of it has happened when this returns.
function test.clock.advance(duration)
  needs_simulation "test.clock.advance"
  in_test "test.clock.advance"
  call_for("test.clock.advance", "test.advance", call_for("test.clock.advance", "seconds", duration))
end

-- Unix seconds.
function test.clock.now() return host.now() end

-- Moves the time on to a moment, in unix seconds.
function test.clock.set(moment)
  needs_simulation "test.clock.set"
  in_test "test.clock.set"
  want(moment, "number", "test.clock.set")
  if moment < host.now() then
    fail("invalid_argument", "test.clock.set: time doesn't go back", { operation = "test.clock.set" })
  end
  call_for("test.clock.set", "test.advance", moment - host.now())
end

---- the world ---------------------------------------------------------------------------------

-- Makes an image be there. options: the OCI image's config (Cmd, Entrypoint, Env, Labels …), by the words of image.build's config.
local config_words = {
  entrypoint = "Entrypoint", cmd = "Cmd", workdir = "WorkingDir", user = "User", labels = "Labels", stop_signal = "StopSignal",
}

function test.image(reference, options)
  want(reference, "string", "test.image")
  in_test "test.image"
  if not is_simulated then
    if not core.lunette.image.find(reference) then skip("the image " .. reference .. " is not here") end
    return core.lunette.image.get(reference)
  end
  local config
  if options ~= nil then
    local known = { env = true, volumes = true, exposed_ports = true }
    for word in next, config_words do known[word] = true end
    known_only(options, known, "test.image")
    config = {}
    for word, value in next, options do
      if config_words[word] then config[config_words[word]] = value end
    end
    if options.env then
      config.Env = {}
      for key, value in next, options.env do config.Env[#config.Env + 1] = key .. "=" .. tostring(value) end
      table.sort(config.Env)
    end
    for word, name in next, { volumes = "Volumes", exposed_ports = "ExposedPorts" } do
      if options[word] then
        config[name] = {}
        for _, item in ipairs(options[word]) do config[name][item] = {} end
      end
    end
  end
  call_for("test.image", "test.image", reference, config or host.null)
  return core.lunette.image.get(reference)
end

local answer_words = { code = true, signal = true, stdout = true, stderr = true, after = true, ignores = true, times = true, runs = true }

local function check_answer(answer, what)
  if type(answer) == "function" then return end
  known_only(answer, answer_words, what)
  if answer.signal then call_for(what, "test.check_signal", answer.signal) end
  for _, signal in ipairs(answer.ignores or {}) do call_for(what, "test.check_signal", signal) end
  if answer.after then call_for(what, "seconds", answer.after) end
end

-- Which containers: a name, `web-*`, a handle, {name=, image=}.
local function container_filter(which, what)
  if which == nil or type(which) == "string" then return { name = which } end
  if nouns.is_handle(which) then return { name = which.name } end
  known_only(which, { name = true, image = true }, what)
  return which
end

-- What the program of a container does: { code=, signal=, after=, stdout=, stderr=, ignores={…}, times= }, or a function that says so.
function test.program(container, answer)
  local state = in_test "test.program"
  local filter = container_filter(container, "test.program")
  check_answer(answer, "test.program")
  if not is_simulated then return end
  state.programs[#state.programs + 1] = { filter = filter, answer = answer, times = type(answer) == "table" and answer.times or nil }
end

-- What an exec answers. args: a list whose items may hold `*`, its last item "..." for any more; nil: every exec.
function test.exec(container, args, answer)
  local state = in_test "test.exec"
  local filter = container_filter(container, "test.exec")
  if type(args) == "string" then args = { "/bin/sh", "-c", args } end
  if args ~= nil then want(args, "table", "test.exec") end
  check_answer(answer, "test.exec")
  if not is_simulated then return end
  state.execs[#state.execs + 1] = {
    filter = filter, args = args, answer = answer, times = type(answer) == "table" and answer.times or nil,
  }
end

-- Ends the program of a running container: { code=, signal=, oom_killed= }.
function test.exit(container, exit)
  needs_simulation "test.exit"
  in_test "test.exit"
  exit = exit or {}
  known_only(exit, { code = true, signal = true, oom_killed = true }, "test.exit")
  if exit.signal then call_for("test.exit", "test.check_signal", exit.signal) end
  call_for("test.exit", "test.exit", nouns.is_handle(container) and container.id or container, exit)
end

-- Gives `on` handlers an event, or asks `before` handlers: { allowed, spec, reason, hook, notes }.
function test.emit(event, fields)
  needs_simulation "test.emit"
  in_test "test.emit"
  want(event, "string", "test.emit")
  if fields ~= nil then want(fields, "table", "test.emit") end
  return call_for("test.emit", "test.emit", event, fields or {})
end

local fail_options = { times = true, message = true, hint = true, after = true, match = true }

-- Makes calls of a function fail with a code. times: how often (else always); after: how many pass before; match: arguments they have.
function test.fail(name, code, options)
  local state = in_test "test.fail"
  needs_simulation "test.fail"
  want(name, "string", "test.fail")
  want(code, "string", "test.fail")
  options = options or {}
  known_only(options, fail_options, "test.fail")
  call_for("test.fail", "test.check_name", name, code)
  state.faults[#state.faults + 1] = {
    name = name, code = code, message = options.message, hint = options.hint, left = options.times, pass = options.after or 0,
    match = options.match,
  }
  core.look_at()
end

-- Makes calls of a function answer a value, or what a function of their arguments returns.
function test.stub(name, answer)
  local state = in_test "test.stub"
  needs_simulation "test.stub"
  want(name, "string", "test.stub")
  call_for("test.stub", "test.check_name", name)
  state.stubs[#state.stubs + 1] = { name = name, answer = answer }
  core.look_at()
end

-- Which calls that need no engine are to be brought here.
function core.look_at()
  local names = {}
  for _, list in next, { current.faults, current.stubs } do
    for _, entry in ipairs(list) do names[#names + 1] = entry.name end
  end
  host_call("test.look_at", names)
end

---- code under test ---------------------------------------------------------------------------

local Script = { __name = "lunette.script" }
local script_fields = { output = true, errors = true, code = true, ok = true, error = true, is_running = true }
local numbers = setmetatable({}, { __mode = "k" })

local function describe(script) return host_call("test.describe_script", numbers[script]) end

local script_methods = {
  -- Waits until it has ended.
  wait = function(script)
    call_for("script:wait", "test.wait_script", numbers[script], false)
    return script
  end,
  -- Ends it as Ctrl-C does.
  stop = function(script)
    call_for("script:stop", "test.stop_script", numbers[script])
    return script
  end,
}
Script.__index = function(script, key)
  if script_methods[key] then return script_methods[key] end
  if not script_fields[key] then return nil end
  local value = describe(script)[key]
  -- Its message names the script's own line.
  if key == "error" and type(value) == "table" then return setmetatable(value, core.Error) end
  return value
end
Script.__tostring = function(script) return "script " .. tostring(rawget(script, "path")) end

local load_options = { resident = true, plugin = true, args = true, background = true }

-- Loads what is tested: a script, which runs until it ends or stays; with resident = true a resident script, whose handlers are
-- registered; a plugin's folder. The path is relative to the test file.
function test.load(path, options, ...)
  in_test "test.load"
  want(path, "string", "test.load")
  local args = {}
  if type(options) ~= "table" then
    args = { options, ... }
    options = {}
  end
  known_only(options, load_options, "test.load")
  args = options.args or args
  for index, value in ipairs(args) do args[index] = tostring(value) end
  if path:sub(1, 1) ~= "/" and folder ~= "" then path = folder .. "/" .. path end
  path = path:gsub("/%.$", ""):gsub("/%./", "/")
  local is_plugin = options.plugin
  if is_plugin == nil and not options.resident then is_plugin = core.lunette.fs.exists(path .. "/plugin.json") end
  if is_plugin then
    needs_simulation "test.load of a plugin"
    return call_for("test.load", "test.load_plugin", path)
  end
  if options.resident then
    needs_simulation "test.load of a resident script"
    return call_for("test.load", "test.load_resident", path)
  end
  local number = call_for("test.load", "test.load_script", path, args)
  local script = setmetatable({ path = path }, Script)
  numbers[script] = number
  if not options.background then call_for("test.load", "test.wait_script", number, true) end
  call_for("test.load", "test.idle")
  return script
end

---- what happened -----------------------------------------------------------------------------

-- The calls and events so far, in their order. filter: a name (`container.*`), or { kind = "call"|"event", name= }.
function test.events(filter)
  local state = in_test "test.events"
  if filter == nil or type(filter) == "string" then filter = { name = filter } end
  known_only(filter, { kind = true, name = true }, "test.events")
  local all = {}
  local stream = nouns.open_stream("events.follow", { since = state.since, ["until"] = "0s" }, nouns.where())
  local events = {}
  for event in function() return stream:next() end do
    event.kind = "event"
    for _, noun in next, { "container", "image", "volume" } do
      if nouns.is_handle(event[noun]) then event[noun] = nouns.handle(event[noun]) end
    end
    events[#events + 1] = event
  end
  local at = 1
  for _, call in ipairs(state.calls) do
    -- What happened before a call stands before it.
    while events[at] and (call.after and events[at].sequence <= call.after or not call.after and events[at].time <= call.time) do
      all[#all + 1] = events[at]
      at = at + 1
    end
    all[#all + 1] = call
  end
  for index = at, #events do all[#all + 1] = events[index] end
  local result = {}
  for _, entry in ipairs(all) do
    if (filter.kind == nil or entry.kind == filter.kind) and fits(entry.name, filter.name) then result[#result + 1] = entry end
  end
  return result
end

---- what the host asks ------------------------------------------------------------------------

local function record(problem)
  local e = make_error(problem)
  return { code = e.code, message = e.message or tostring(e), hint = e.hint, operation = e.operation, path = e.path, target = e.target }
end

-- Arguments as a test compares them: handles by their names, without what only the wire needs.
local function readable(value)
  if type(value) ~= "table" then return value end
  if nouns.is_handle(value) then return value.name end
  local result = {}
  for key, item in next, value do result[key] = readable(item) end
  return result
end

local plumbing = { ["hook.register"] = true, ["hook.unregister"] = true, ["events.follow"] = true }

local function holds(whole, part)
  if type(part) ~= "table" then return whole == part end
  if type(whole) ~= "table" then return false end
  for key, value in next, part do
    if not holds(whole[key], value) then return false end
  end
  return true
end

-- {reply, name, arguments, event, script, line}: {number}, {error}, or {answered, value}
function core.entries.test_call(what)
  local state = current
  if not state or plumbing[what.name] then
    host_call("reply", what.reply, true, { number = 0 })
    return
  end
  local arguments = readable(what.arguments or {})
  arguments.stdio = nil
  local call = {
    kind = "call", name = what.name, arguments = arguments, script = what.script, line = what.line, time = host.now(),
    after = what.event, ok = true,
  }
  state.calls[#state.calls + 1] = call
  for index = #state.faults, 1, -1 do
    local fault = state.faults[index]
    if fits(what.name, fault.name) and fault.left ~= 0 and (fault.match == nil or holds(arguments, fault.match)) then
      if fault.pass > 0 then
        fault.pass = fault.pass - 1
      else
        if fault.left then fault.left = fault.left - 1 end
        local message = fault.message or what.name .. " fails as the test wants"
        call.ok, call.code, call.message = false, fault.code, message
        host_call("reply", what.reply, true, {
          error = { code = fault.code, message = message, hint = fault.hint, operation = what.name },
        })
        return
      end
    end
  end
  for index = #state.stubs, 1, -1 do
    local stub = state.stubs[index]
    if fits(what.name, stub.name) then
      local t = spawn({}, function()
        local value = stub.answer
        if type(value) == "function" then value = value(arguments) end
        host_call("reply", what.reply, true, { answered = true, value = value == nil and host.null or value })
      end)
      t.on_finish = function()
        if t.state == "done" then return end
        local problem = record(t.error)
        call.ok, call.code, call.message = false, problem.code, problem.message
        host_call("reply", what.reply, true, { error = problem })
      end
      core.run_ready()
      return
    end
  end
  local noun = what.name:match("^%a+")
  if noun == "sandbox" or noun == "process" or noun == "http" then
    call.ok, call.code = false, "unsupported"
    host_call("reply", what.reply, true, { error = {
      code = "unsupported", message = what.name .. " reaches out of the test, which doesn't say what it answers", operation = what.name,
      hint = "test.stub(\"" .. what.name .. "\", { … })",
    } })
    return
  end
  host_call("reply", what.reply, true, { number = #state.calls })
end

-- {number, code, message}
function core.entries.test_answered(what)
  local call = current and current.calls[what.number]
  if call and what.code then call.ok, call.code, call.message = false, what.code, what.message end
end

function core.entries.test_log(what)
  if current then current.log[#current.log + 1] = what.text end
end

local function args_fit(args, wanted)
  if wanted == nil then return true end
  local count = #wanted
  if wanted[count] == "..." then
    count = count - 1
    if #args < count then return false end
  elseif #args ~= count then
    return false
  end
  for index = 1, count do
    if not fits(args[index], wanted[index]) then return false end
  end
  return true
end

-- The last word of the test on a start: its answer, or nil.
local function find_answer(list, start)
  for index = #list, 1, -1 do
    local entry = list[index]
    if entry.times ~= 0 and fits(start.container.name, entry.filter.name) and fits(start.image, entry.filter.image)
      and args_fit(start.args, entry.args) then
      if entry.times then entry.times = entry.times - 1 end
      return entry.answer
    end
  end
end

-- {reply, start}
function core.entries.test_program(what)
  local start = what.start
  local is_exec = start.kind == "exec"
  run(what.reply, nil, function()
    local ok, answer = pcall(function()
      start.container = nouns.handle(start.container)
      local found = find_answer(current and (is_exec and current.execs or current.programs) or {}, start)
      if type(found) == "function" then
        found = found(start)
        if found ~= nil then check_answer(found, is_exec and "test.exec" or "test.program") end
      end
      return found
    end)
    if not ok then return { error = record(answer) } end
    if answer == nil then
      if not is_exec then return {} end
      local line = concat(start.args, " ")
      return { error = {
        code = "unsupported", target = start.container.name,
        message = "exec \"" .. line .. "\" in " .. start.container.name .. ": the test doesn't say what it answers",
        hint = ("test.exec(%q, { %q, \"...\" }, { code = 0 })"):format(start.container.name, start.args[1]),
      } }
    end
    local result = {}
    for key, value in next, answer do result[key] = value end
    if result.after then result.after = host_call("seconds", result.after) end
    -- An exec ends; a container's program only when the test says so.
    if not result.code and not result.signal and not result.runs and (is_exec or result.after) then result.code = 0 end
    return result
  end)
end

-- {text, code}: nothing can happen any more, or it takes too long.
function core.entries.test_stuck(what)
  local t = current and current.task
  if not t then return end
  current.stuck = what.code or "would_block"
  local text = what.code and what.text or "this wait can't end: " .. what.text
  cancel(t, what.code or "would_block", text)
  core.run_ready()
  core.check_end()
end

---- running -----------------------------------------------------------------------------------

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
  local escaped = file:gsub("%p", "%%%0")
  local line = type(traceback) == "string" and traceback:match(escaped .. ":(%d+): ") or nil
  return line and file .. ":" .. line
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
    if problem.code and problem.code ~= "cancelled" and not current.stuck then
      failure.message = failure.message .. " (" .. problem.code .. ")"
    end
  else
    local place, message = text_of(problem):match("^(.-:%d+): (.*)$")
    failure = { message = message or text_of(problem), place = place_in_test(traceback) or place }
    if place and failure.place ~= place then failure.message = text_of(problem) end
  end
  if current.stuck == "would_block" then
    failure.hint = "test.program says when programs end, test.exit ends one, test.clock.advance moves the time"
  end
  return failure
end

-- Runs a step of a test in a task of its own; notes what went wrong. Returns whether all went well.
local function step(f)
  local t = spawn({}, f)
  current.task = t
  local ok, problem = pcall(core.join, t)
  current.task = nil
  if ok then return true end
  if type(problem) == "table" and problem[1] == skip_mark then
    current.skipped = problem.reason
    return false
  end
  local failure = failure_of(problem, t.traceback)
  if failure then current.failures[#current.failures + 1] = failure end
  if failure == nil and #current.failures == 0 then current.failures[1] = { message = text_of(problem) } end
  return false
end

local kept = setmetatable({}, { __mode = "k" })   -- tasks that no test has made

local function new_state()
  return {
    failures = {}, log = {}, calls = {}, stubs = {}, faults = {}, programs = {}, execs = {}, since = is_simulated and 0 or host.now(),
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
    if failure then current.failures[#current.failures + 1] = failure end
    core.open.failed[index] = nil
  end
end

local function begin_engine() call_for("test.begin", "test.begin_engine") end
local function end_engine()
  hooks.forget()
  call_for("test.end", "test.end_engine")
end

local function run_test(item, is_shared)
  local skip_reason = option(item, "skip")
  local result = { file = file, names = names_of(item) }
  host_call("test.begin", host_call("seconds", option(item, "timeout") or 10))
  if skip_reason then
    result.status, result.reason = "skipped", tostring(skip_reason)
    host_call("test.result", result)
    return
  end
  local shared = current
  if is_shared then
    -- What the group has played stays; what this test adds goes with it.
    current = setmetatable({ failures = {}, log = {}, calls = shared.calls }, { __index = shared })
    for _, key in next, { "stubs", "faults", "programs", "execs" } do
      current[key] = {}
      for index, entry in ipairs(shared[key]) do current[key][index] = entry end
    end
  else
    current = new_state()
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
  current.stuck = nil
  if core.current().is_cancelled then
    -- Ctrl-C: nothing waits any more, and the process ends.
    result.status, result.failures, result.log = "failed", { { message = "interrupted" } }, current.log
    host_call("test.result", result)
    return
  end
  for _, f in ipairs(after) do step(f) end
  clean_up()
  result.failures, result.log, result.reason = current.failures, current.log, current.skipped
  result.status = #current.failures > 0 and "failed" or current.skipped and "skipped" or "passed"
  local state = current
  if not is_shared then
    current.task = nil
    local closed, problem = pcall(end_engine)
    if not closed and not core.current().is_cancelled then
      state.failures[#state.failures + 1] = failure_of(problem)
      result.status = "failed"
    end
  end
  current = shared
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
      host_call("test.result", { file = file, names = names_of(item), status = "failed", failures = failures, log = log })
    end
  end
end

function run_group(inner, filter, is_shared)
  if not inner.options.shared or is_shared or not has_wanted(inner, filter) or option(inner, "skip") then
    run_items(inner, filter, is_shared)
    return
  end
  host_call("test.begin", host_call("seconds", option(inner, "timeout") or 10))
  current = new_state()
  begin_engine()
  local ok = true
  for _, f in ipairs(inner.before_all) do ok = ok and step(f) end
  local state = current
  if ok then
    run_items(inner, filter, true)
  elseif state.skipped and #state.failures == 0 then
    inner.options = { skip = state.skipped }
    run_items(inner, filter, true)
  else
    fail_all(inner, filter, state.failures, state.log)
  end
  if core.current().is_cancelled then return end
  current = state
  current.failures = {}
  for _, f in ipairs(inner.after_all) do step(f) end
  clean_up()
  local failures = current.failures
  end_engine()
  current = nil
  if #failures > 0 then
    host_call("test.begin", 10)
    host_call("test.result", {
      file = file, names = { inner.name, "after_all" }, status = "failed", failures = failures, log = state.log,
    })
  end
end

-- {source, name, script, directory, is_simulated, filter}: loads a test file and runs its tests.
function core.entries.test_file(what)
  file, is_simulated = what.script, what.is_simulated
  folder = file:match("^(.*)/[^/]*$") or ""
  if file:match("^/[^/]*$") then folder = "/" end
  what.globals = true
  core.need("library").open(what)
  if is_simulated then core.need("capture").time() end
  local f, problem = load(what.source:gsub("^#[^\n]*", ""), what.name, "t")
  if not f then
    host_call("finished", { ok = false, error = { code = "script_failed", message = problem }, failed = {} })
    return
  end
  core.start_main(function()
    kept[core.current()] = true
    local root = new_group(nil, nil, {})
    group = root
    f()
    group = nil
    for t in next, core.open.tasks do kept[t] = true end
    run_items(root, what.filter, false)
  end)
end

setmetatable(test, {
  __index = function(_, key)
    local words = {}
    for word in next, test do words[#words + 1] = word end
    local near = host_call("nearest", tostring(key), words)
    fail("invalid_argument", "test has no function \"" .. tostring(key) .. "\"", {
      hint = near and "did you mean \"test." .. near .. "\"?" or nil,
    })
  end,
})

return test
