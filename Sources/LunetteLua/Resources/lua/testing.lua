-- lunette.test: what a test file calls. Groups and tests; what a test plays of the world: programs, images, failures, time.

local core = ...
local host, fail = core.host, core.fail
local host_call, call_for = host.call, core.call_for
local nouns = core.need "nouns"
local type, tostring, next, ipairs, pcall, error = type, tostring, next, ipairs, pcall, error
local setmetatable, rawget = setmetatable, rawget

local test = {}
core.testing = test

-- Shared with test_answers.lua and test_run.lua: `current` is what runs ({failures, log, calls, stubs, faults, programs, execs, since,
-- task}), `group` the one that describe is in, `file` the test file as it was named, `folder` its folder.
local world = { is_simulated = true }
core.test_world = world

---- small things ------------------------------------------------------------------------------

local function want(value, kind, what)
  if type(value) ~= kind then
    fail("invalid_argument", what .. ": expected a " .. kind .. ", got " .. type(value), { operation = what:match("^test%.%w+") })
  end
end

local function known_only(options, known, what)
  want(options, "table", what)
  local unknown = core.need("options").first_unknown(options, known)
  if not unknown then return end
  local words = {}
  for word in next, known do words[#words + 1] = word end
  local near = host_call("nearest", unknown, words)
  fail("invalid_argument", what .. ": unknown option", { path = unknown, hint = near and "did you mean \"" .. near .. "\"?" or nil })
end

-- `redis-*` as a Lua pattern.
local function pattern_of(glob)
  return "^" .. glob:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*") .. "$"
end

local function fits(text, glob) return glob == nil or text ~= nil and tostring(text):find(pattern_of(glob)) ~= nil end

local skip_mark = setmetatable({}, { __tostring = function() return "skipped" end })

local function skip(reason) error({ skip_mark, reason = reason }, 0) end

local function needs_simulation(what)
  if not world.is_simulated then skip(what .. " needs the simulated engine") end
end

local function in_test(what)
  if not world.current then
    fail("invalid_state", what .. " is called outside a test", {
      operation = what, hint = "call it in test.it, test.before_each or test.after_each",
    })
  end
  return world.current
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
  if not world.group then
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
  local inner = new_group(name, world.group, options)
  world.group.items[#world.group.items + 1] = inner
  local outer = world.group
  world.group = inner
  local ok, problem = pcall(f)
  world.group = outer
  if not ok then error(problem, 0) end
end

-- One test.
function test.it(name, options, f)
  options, f = split_options(options, f)
  want(name, "string", "test.it")
  want(f, "function", "test.it")
  known_only(options, test_options, "test.it")
  while_loading "test.it"
  world.group.items[#world.group.items + 1] = { name = name, f = f, parent = world.group, options = options }
end

local function collector(what, key)
  return function(f)
    want(f, "function", what)
    while_loading(what)
    if key:find "_all" and not world.group.options.shared then
      fail("invalid_state", what .. " is for a group with shared = true: each test has an engine of its own else", { operation = what })
    end
    local list = world.group[key]
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
  if not world.is_simulated then
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
  if not world.is_simulated then return end
  state.programs[#state.programs + 1] = { filter = filter, answer = answer, times = type(answer) == "table" and answer.times or nil }
end

-- What an exec answers. args: a list whose items may hold `*`, its last item "..." for any more; nil: every exec.
function test.exec(container, args, answer)
  local state = in_test "test.exec"
  local filter = container_filter(container, "test.exec")
  if type(args) == "string" then args = { "/bin/sh", "-c", args } end
  if args ~= nil then want(args, "table", "test.exec") end
  check_answer(answer, "test.exec")
  if not world.is_simulated then return end
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
  for _, list in next, { world.current.faults, world.current.stubs } do
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
  if path:sub(1, 1) ~= "/" and world.folder ~= "" then path = world.folder .. "/" .. path end
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

world.fits, world.check_answer, world.new_group = fits, check_answer, new_group
world.skip_mark, world.failed_expectation = skip_mark, failed_expectation

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
