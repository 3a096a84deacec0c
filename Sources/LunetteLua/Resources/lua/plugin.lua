-- Runs a plugin's code for the engine: loads it without effects, then calls its functions by name, each in a task of its own.

local core = ...
local host, fail, spawn, cancel = core.host, core.fail, core.spawn, core.cancel
local host_call = host.call
local type, pcall, error, tostring, next = type, pcall, error, tostring, next

local plugin = {}
core.note_failed = core.log_failed
local loaded            -- what init.lua returned
local running = {}      -- reply → its task

local function answer(reply, ok, value)
  local sent, problem = pcall(host_call, "reply", reply, ok, value)
  -- What the plugin returned may not be sendable (a function in it): that is its error.
  if not sent then host_call("reply", reply, false, core.make_error(problem)) end
end

local function record(problem)
  local e = core.make_error(problem)
  return { code = e.code, message = tostring(e), operation = e.operation, hint = e.hint, errno = e.errno, details = e.details }
end

-- Runs f in a task; its first result or its error goes to `reply`.
local function run(reply, timeout, f, ...)
  local t = spawn({}, f, ...)
  running[reply] = t
  local timer
  if timeout then
    timer = spawn({}, function()
      core.call("sleep", timeout)
      cancel(t, "timeout", "not done within " .. tostring(timeout) .. "s")
    end)
  end
  t.on_finish = function()
    running[reply] = nil
    if timer then cancel(timer) end
    if t.state == "done" then
      local value = t.results[1]
      if value == nil then value = host.null end
      answer(reply, true, value)
    else
      answer(reply, false, record(t.error))
    end
  end
  core.run_ready()
  return t
end
plugin.run = run

-- Runs a chunk that has no effects but what it registers; its first result, or its error.
function plugin.load(what, code)
  local f, problem = load(what.source, what.name, "t")
  if not f then fail(code, problem) end
  core.is_loading = true
  local ok, result = pcall(f)
  core.is_loading = false
  if not ok then error(result, 0) end
  return result
end

-- {reply, source, name, config}: runs init.lua, which registers and returns a table, then validates the configuration.
function core.entries.load_plugin(what)
  run(what.reply, what.timeout, function()
    local result = plugin.load(what, "plugin_failed")
    if type(result) ~= "table" then
      fail("plugin_failed", "init.lua returned " .. type(result) .. ", not a table of its functions")
    end
    loaded = result
    if type(result.validate) == "function" then
      local valid, why = result.validate(what.config)
      if valid == false then fail("invalid_argument", "the configuration is refused: " .. tostring(why)) end
    end
    -- Which functions there are, by point and driver.
    local functions = {}
    for _, point in next, { "volume", "network", "scheduler", "command" } do
      if type(result[point]) == "table" then
        functions[point] = {}
        for driver, table in next, result[point] do
          local names = {}
          for name, value in next, type(table) == "table" and table or {} do
            if type(name) == "string" and type(value) == "function" then names[#names + 1] = name end
          end
          if type(driver) == "string" then functions[point][driver] = names end
        end
      end
    end
    return functions
  end)
end

-- {reply, point, driver, name, argument, timeout}: without a point, one of the plugin's own functions (start, stop, self_test).
function core.entries.call_plugin(what)
  run(what.reply, what.timeout, function()
    local table = loaded or {}
    if what.point then table = table[what.point] and table[what.point][what.driver] or {} end
    local f = table[what.name]
    if type(f) ~= "function" then
      if not what.point then return nil end
      fail("unsupported", "the driver " .. tostring(what.driver) .. " has no " .. what.name)
    end
    return f(what.argument)
  end)
end

-- {source, name}: runs a policy file, which returns a table of plain values.
function core.entries.policy(what)
  local f, problem = load(what.source, what.name, "t")
  if not f then fail("invalid_argument", problem) end
  local result = f()
  if type(result) ~= "table" then
    fail("invalid_argument", "returned " .. type(result) .. ", not the table of a sandbox",
      { hint = "return { allow_write = { \"build\" } }" })
  end
  return result
end

function core.entries.cancel_plugin_call(what)
  local t = running[what.reply]
  if t then cancel(t, "cancelled", "the call was cancelled") end
  core.run_ready()
end

return plugin
