-- A program in a state: its chunk compiled and started as the main task, its end told to the host.

local core = ...
local host_call, entries, open = core.host.call, core.entries, core.open
local spawn, run_ready, is_error = core.spawn, core.run_ready, core.is_error
local cancel = core.need("control").cancel
local type, tostring, ipairs, next, load, unpack = type, tostring, ipairs, next, load, table.unpack
local getmetatable, pcall = getmetatable, pcall

local main               -- the main chunk's task

-- Tells the host when the main chunk and the spawned tasks have ended; a line at the prompt ends alone.
function core.check_end()
  if not main or core.is_finished then return end
  if core.is_prompt and open.tasks[main] or not core.is_prompt and open.holding > 0 then return end
  core.is_finished = true
  local outcome = { ok = main.state == "done", values = nil }
  if main.state == "done" then
    outcome.text = core.result_text and core.result_text(main.results)
  else
    outcome.error = core.report(main)
  end
  local others = {}
  for index, t in ipairs(open.failed) do others[index] = core.report(t) end
  outcome.failed = others
  -- os.exit of a script under test: it has ended as it wanted, whatever that raised.
  if core.exit_code then outcome.ok, outcome.error, outcome.exit, outcome.failed = true, nil, core.exit_code, {} end
  open.failed = {}
  main = nil
  host_call("finished", outcome)
end

-- The mend for a name that isn't there, where it is one of ours that was meant.
local function hint_for(text)
  local name = text:match("%(global '([%w_]+)'%)")
  if not name then return nil end
  local nouns = core.need("library").globals
  if core.need("library").later[name] then return "lunette." .. name .. " is not in this version" end
  if nouns[name] then
    return "in a script: local lunette = require \"lunette\"" .. (name ~= "lunette" and ", then lunette." .. name or "")
  end
  local words = {}
  for noun in next, nouns do words[#words + 1] = noun end
  local near = #name > 3 and host_call("nearest", name, words)
  return near and "did you mean \"" .. near .. "\"?" or nil
end

-- As JSON, so that nothing in it can keep the end of a script from being told.
local function details_of(e)
  if e.details == nil then return nil end
  local ok, text = pcall(core.call, "json.encode", e.details, false)
  return ok and text or nil
end

local function described(t)
  local e = t.error
  if e == "not enough memory" then e = core.make_error(e) end
  if is_error(e) then
    return {
      code = e.code, message = tostring(e), hint = e.hint, traceback = e.traceback, path = e.path, operation = e.operation,
      cause = e.cause and tostring(e.cause), is_cancelled = t.is_cancelled, point = e.point, target = e.target, errno = e.errno,
      details = details_of(e),
    }
  end
  local kind = type(e)
  local meta = kind == "table" and getmetatable(e)
  local text
  if kind == "string" or (type(meta) == "table" and meta.__tostring) then
    text = core.text_of(e)
  else
    text = "(error object is " .. (kind == "nil" and "nil" or "a " .. kind .. " value") .. ")"
  end
  return {
    code = "script_failed", message = text, hint = kind == "string" and hint_for(text) or nil, traceback = t.traceback,
    is_cancelled = t.is_cancelled,
  }
end

-- What to print about a task that failed; at a prompt with the line that it points at.
function core.report(t)
  local record = described(t)
  return core.point and core.point(record) or record
end

-- Cancels every task that holds the script; at the prompt the line that runs, with what it spawned.
local function cancel_all(reason, text)
  if core.is_prompt and not main then return end
  local tasks = {}
  for t, holds in next, open.tasks do
    if holds and (not core.is_prompt or t.line == main) then tasks[#tasks + 1] = t end
  end
  for _, t in ipairs(tasks) do cancel(t, reason, text) end
end

core.cancel_all = cancel_all

-- Starts the main task of a script, a chunk or a REPL line. When it fails, what it spawned is cancelled.
function core.start_main(f, ...)
  core.is_finished = false
  main = spawn({ holds = true }, f, ...)
  main.line = main
  main.on_finish = function(t)
    if t.state ~= "done" then cancel_all("cancelled", "the script has failed") end
  end
  run_ready()
  core.check_end()
end

-- Whether a task belongs to what the main task does now.
function core.is_of_main(t) return main ~= nil and t ~= nil and t.line == main end

-- Ctrl-C: cancels the main task and what it spawned; a second one leaves to the host.
function entries.interrupt(what)
  cancel_all("cancelled", what.text or "interrupted")
  run_ready()
  core.check_end()
end

function entries.deadlock()
  cancel_all("would_block", "every task waits for another, and nothing else can come")
  run_ready()
  core.check_end()
end

-- Compiles what may be an expression list, so that its value is returned; nil when it isn't one.
-- Not as a tail call: an error would have lost the line it comes from.
function core.compile_expression(source, name, prefix)
  prefix = prefix or ""
  local f = load(prefix .. "return " .. source, name, "t")
  if not f then return nil end
  return load(prefix .. "local function values__(...) return ... end return values__(" .. source .. "\n)", name, "t") or f
end

-- Runs source: {source, name, arguments, prints, globals, directory}
function entries.run(what)
  core.need("globals").open(what)
  local mode = core.is_limited and "t" or "bt"
  local source = what.source:gsub("^#[^\n]*", "")
  local f, problem
  if what.prints then
    f = core.compile_expression(source, what.name)
    core.result_text = function(results) return core.need("inspect").results(results) end
  end
  if not f then f, problem = load(source, what.name, mode) end
  if not f then
    host_call("finished", { ok = false, error = { code = "script_failed", message = problem }, failed = {} })
    return
  end
  local arguments = what.arguments or {}
  core.start_main(f, unpack(arguments, 1, #arguments))
end

return {}
