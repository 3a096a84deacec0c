-- What the host asks a test: what becomes of a call, what a program does; and what it tells it.

local core = ...
local host, spawn, cancel = core.host, core.spawn, core.need("control").cancel
local host_call, make_error = host.call, core.make_error
local nouns, run = core.need "nouns", core.need("replies").run
local type, tostring, next, pcall, concat = type, tostring, next, pcall, table.concat

local world = core.test_world
local fits, check_answer = world.fits, world.check_answer

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
  local state = world.current
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
  local call = world.current and world.current.calls[what.number]
  if call and what.code then call.ok, call.code, call.message = false, what.code, what.message end
end

function core.entries.test_log(what)
  if world.current then world.current.log[#world.current.log + 1] = what.text end
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
      local found = find_answer(world.current and (is_exec and world.current.execs or world.current.programs) or {}, start)
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
  local t = world.current and world.current.task
  if not t then return end
  world.current.stuck = what.code or "would_block"
  local text = what.code and what.text or "this wait can't end: " .. what.text
  cancel(t, what.code or "would_block", text)
  core.run_ready()
  core.check_end()
end

return {}
