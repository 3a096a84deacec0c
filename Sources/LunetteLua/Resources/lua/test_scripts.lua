-- lunette.test: the code that is tested, and what has happened.

local core = ...
local host_call, call_for = core.host.call, core.call_for
local nouns = core.need "nouns"
local type, tostring, next, ipairs, setmetatable, rawget = type, tostring, next, ipairs, setmetatable, rawget
local test, world = core.testing, core.test_world
local want, known_only, needs_simulation, in_test = world.want, world.known_only, world.needs_simulation, world.in_test

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

-- `redis-*` as a Lua pattern.
local function pattern_of(glob)
  return "^" .. glob:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*") .. "$"
end

local function fits(text, glob) return glob == nil or text ~= nil and tostring(text):find(pattern_of(glob)) ~= nil end

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

world.fits = fits

return {}
