-- Runs a plugin's code for the engine: loads it without effects, then calls its functions by name, each in a task of its own.

local core = ...
local fail = core.fail
local type, tostring, next = type, tostring, next
local replies = core.need "replies"

local loaded            -- what init.lua returned

-- {reply, source, name, config}: runs init.lua, which registers and returns a table, then validates the configuration.
function core.entries.load_plugin(what)
  replies.run(what.reply, what.timeout, function()
    local result = replies.load(what, "plugin_failed")
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
  replies.run(what.reply, what.timeout, function()
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

return {}
