-- Prompts inside resident code (`lunette repl --in NAME`): the engine hands over what was typed, the state runs it in a task under the
-- limits and permissions that the code itself has.

local core = ...
local host, fail = core.host, core.fail
local host_call = host.call
local next, pcall, setmetatable, tostring = next, pcall, setmetatable, tostring
local pack = table.pack
local inspect, sessions, library = core.need "inspect", core.need "session", core.need "library"
local run = core.need("replies").run
core.need "script"

local prompts = {}               -- id → a prompt
local most_prompts = 8           -- at once: the one that was used longest ago goes
local most_output = 1024 * 1024  -- bytes that one chunk may print, and that its values may have
local longest = 600              -- seconds that a chunk may take

---- a prompt's globals --------------------------------------------------------------------------

-- The code's own globals, then the API's nouns. What only reads may not set them.
local function globals_of(only_reads)
  local own = {}
  return setmetatable(own, {
    __index = function(_, name)
      local value = _G[name]
      if value ~= nil or not library.globals[name] then return value end
      return core.lunette[name]
    end,
    __newindex = function(_, name, value)
      if only_reads then
        fail("denied", "\"" .. tostring(name) .. "\" is the code's own, and this session only reads", {
          hint = "a local of the session is free to change; or leave out --read-only",
        })
      end
      _G[name] = value
    end,
    __metatable = false,
  })
end

local function close(id)
  local prompt = prompts[id]
  prompts[id] = nil
  if not prompt then return end
  for t in next, core.open.tasks do
    if t.line and t.line.prompt == prompt then core.need("control").cancel(t, "cancelled", "the prompt was left") end
  end
end

local clock = 0
local function open(what)
  local count, oldest = 0, nil
  for id, prompt in next, prompts do
    count = count + 1
    if not oldest or prompt.used < prompts[oldest].used then oldest = id end
  end
  if count >= most_prompts then close(oldest) end
  local globals = globals_of(what.only_reads)
  prompts[what.session] = {
    session = sessions.new("repl in " .. what.target, globals), only_reads = what.only_reads == true, used = clock, globals = globals,
  }
end

-- What a chunk prints goes to the prompt while the chunk runs; later it is for the log.
function core.say(text)
  local t = core.current()
  local prompt = t and t.line and t.line.prompt
  if not prompt or not prompt.reply then return false end
  prompt.printed = prompt.printed + #text + 1
  if prompt.printed > most_output then
    fail("resource_exhausted", "more than 1MiB was printed by one chunk", { hint = "print less, or in parts" })
  end
  host_call("prompt.output", prompt.reply, text)
  return true
end

-- A task that a prompt spawned fails: whoever types hears of it while a chunk runs, later the log does.
local note_failed = core.note_failed
function core.note_failed(t)
  local prompt = t.line and t.line.prompt
  if not prompt then return note_failed(t) end
  local text = "a task failed: " .. core.report(t).message
  if prompt.reply then host_call("prompt.output", prompt.reply, text) else host_call("log", "error", text, {}) end
end

---- chunks --------------------------------------------------------------------------------------

local function rendered(what, results)
  local text
  if what.as == "json" then
    local value = results[1]
    if value == nil then value = host.null end
    text = core.call("json.encode", value, true)
  elseif what.as == "screen" then
    text = inspect.screen(results, what.width)
  else
    text = inspect.line(results, what.width, what.has_colour)
  end
  if text and #text > most_output then fail("resource_exhausted", "the value is more than 1MiB of text") end
  return text
end

-- A chunk's outcome: { status = "done", text = } or { status = "failed", error = }
local function evaluate(prompt, what)
  local session = prompt.session
  local f, problem = session:compile(what.source)
  session:note_lines(what.source)
  if not f then return { status = "failed", error = session:pointed { code = "script_failed", message = problem } } end
  local ok, text = pcall(function() return rendered(what, pack(f())) end)
  if ok then return { status = "done", text = text } end
  return { status = "failed", error = session:pointed(core.report { error = text }) }
end

-- {reply, session, ask, source, as, width, has_colour, only_reads, target}
function core.entries.prompt_ask(what)
  local prompt = prompts[what.session]
  clock = clock + 1
  if prompt then prompt.used = clock end
  local answer
  if what.ask == "open" then
    close(what.session)
    open(what)
    answer = { status = "open" }
  elseif what.ask == "close" then
    close(what.session)
    answer = { status = "closed" }
  elseif not prompt then
    -- Another version of the code, or another engine: nothing is run for somebody who doesn't know that yet.
    answer = { status = "changed" }
  elseif what.ask == "tasks" then
    answer = { status = "done", lines = sessions.tasks(core.open.tasks, function(t) return t.state ~= "done" end) }
  elseif prompt.reply then
    fail("conflict", "a chunk of this prompt runs already")
  end
  if answer then
    core.run_ready()
    host_call("reply", what.reply, true, answer)
    return
  end
  prompt.reply, prompt.printed = what.reply, 0
  run(what.reply, longest, function()
    local t = core.current()
    t.line, t.prompt = t, prompt
    local before = t.on_finish
    t.on_finish = function(finished)
      prompt.reply = nil
      before(finished)
    end
    return evaluate(prompt, what)
  end)
end

-- {reply, session, text, line}: completions, with what stands in the state
function core.entries.prompt_complete(what)
  local prompt = prompts[what.session]
  run(what.reply, 5, function()
    if not prompt then return {} end
    -- It asks for lists of names, which a session that only reads may.
    return core.need("complete").finder(what, prompt.session)()
  end)
end

return {}
