-- lunette.test: what a test file calls. Groups and tests, what should be, and time. What a test plays of the world is in test_world.lua;
-- what it loads, and what has happened, in test_scripts.lua.

local core = ...
local host, fail = core.host, core.fail
local host_call, call_for = host.call, core.call_for
local type, tostring, next, pcall, error, setmetatable = type, tostring, next, pcall, error, setmetatable

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

world.new_group, world.skip_mark, world.failed_expectation = new_group, skip_mark, failed_expectation
world.skip, world.want, world.known_only, world.needs_simulation, world.in_test = skip, want, known_only, needs_simulation, in_test
core.need "test_world"
core.need "test_scripts"

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
