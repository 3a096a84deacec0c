-- The REPL's evaluator: a line is a chunk, top-level locals live on, `_` is the last value.

local core = ...
local pcall, tostring, type = pcall, tostring, type
local inspect, sessions = core.need "inspect", core.need "session"
local pack = table.pack

core.need "script"
local here = sessions.new("repl", _G)

local is_open = false
local inside                     -- the resident code that the prompt stands in (--in); nil: its own state
local plain_print = print
local held                       -- what others say while :watch draws the screen, where it would be lost
local most_held = 1000

-- A line above the prompt while that waits, else where the cursor is.
local function note(text)
  if held and not core.is_of_main(core.current()) then
    held.n = held.n + 1
    held[(held.n - 1) % most_held + 1] = text
  elseif not core.host.call("repl.note", text) then
    plain_print(text)
  end
end

-- Shows what was held.
local function release()
  local notes = held
  held = nil
  local first = math.max(1, notes.n - most_held + 1)
  if first > 1 then note(first - 1 .. " earlier lines are not shown") end
  for index = first, notes.n do note(notes[(index - 1) % most_held + 1]) end
end

local function open_session()
  if is_open then return end
  is_open = true
  core.need("globals").open { globals = true, name = "repl", script = "repl" }
  function _G.print(...)
    local parts = pack(...)
    for index = 1, parts.n do parts[index] = tostring(parts[index]) end
    note(table.concat(parts, "\t"))
  end
  -- What a line spawned goes on beside the prompt. When it fails after its line has ended, nobody asks for that any more.
  core.is_prompt = true
  function core.point(record) return here:pointed(record) end
  local note_failed = core.note_failed
  function core.note_failed(t)
    if core.is_of_main(t) then return note_failed(t) end
    local place = debug.getinfo(t.f, "S")
    note("lunette: the task at " .. place.short_src .. ":" .. place.linedefined .. " failed: " .. core.report(t).message)
  end
end

-- What a line's values look like: {as_json, width, has_colour}
local function shown(what)
  if what.as_json then
    return function(results)
      local value = results[1]
      if value == nil then value = core.host.null end
      return core.host.call("json.encode", value, true)
    end
  end
  return function(results) return inspect.line(results, what.width, what.has_colour) end
end

-- A line's function, its place among the session's lines taken; nil when it is incomplete or told to be wrong.
local function compiled(what)
  local f, problem = here:compile(what.source)
  local is_incomplete = not f and problem:sub(-5) == "<eof>" and not what.is_last
  if is_incomplete then return nil, true end
  here:note_lines(what.source)
  if f then return f end
  core.host.call("finished", { ok = false, error = here:pointed { code = "script_failed", message = problem }, failed = {} })
  return nil, false
end

-- {source, is_last, as_json, width, has_colour, is_outside} → "incomplete", or nothing: the line runs as the main task
function core.entries.repl_line(what)
  open_session()
  if inside and not what.is_outside then return inside.line(what) end
  local f, is_incomplete = compiled(what)
  if not f then return is_incomplete and "incomplete" or nil end
  core.result_text = shown(what)
  core.start_main(f)
  return nil
end

---- commands ----------------------------------------------------------------------------------

-- :watch — evaluates again and again until it is cancelled: {source, period, width}
function core.entries.repl_watch(what)
  open_session()
  local evaluate
  if inside then
    evaluate = inside.watched(what)
  else
    what.is_last = true
    local f = compiled(what)
    if not f then return end
    evaluate = function() return inspect.screen(pack(f()), what.width) end
  end
  core.result_text = nil
  held = { n = 0 }
  core.start_main(function()
    while true do
      local ok, text = pcall(evaluate)
      local e = not ok and text
      if e and core.is_error(e) and e:is "cancelled" then return end
      core.host.call("repl.show", ok and text or tostring(e or "nil"))
      if not pcall(core.call, "sleep", what.period) then return end
    end
  end)
end

-- :watch has ended, its screen is the user's again.
function core.entries.repl_watched() if held then release() end end

-- :tasks — what runs beside the prompt, one line each; the main task says it
function core.entries.repl_tasks()
  open_session()
  core.result_text = function(results) return results[1] end
  core.start_main(function()
    local lines = inside and inside.tasks() or sessions.tasks(core.open.tasks)
    return #lines > 0 and table.concat(lines, "\n") or "nothing runs beside the prompt"
  end)
end

local followed           -- the task that shows events

-- :events on, :events off — each event as a line: {on}
function core.entries.repl_events(what)
  if followed then
    core.need("control").cancel(followed)
    followed = nil
  end
  if not what.on then core.run_ready() return end
  local function follow()
    for ev in core.lunette.events {} do
      local target = type(ev.target) == "table" and (ev.target.name or ev.target.id) or ""
      local exit = type(ev.exit) == "table" and " code=" .. tostring(ev.exit.code) .. " reason=" .. tostring(ev.exit.reason) or ""
      note(string.format("%d %s %s%s", ev.sequence, ev.name, target, exit))
    end
  end
  followed = core.spawn({ f = follow, label = ":events" }, function()
    local ok, problem = pcall(follow)
    if not ok and not (core.is_error(problem) and problem:is "cancelled") then note(tostring(problem)) end
  end)
  core.run_ready()
end

-- The session ends: what runs beside the prompt is cancelled, and closes what it has open. Whether there was something, as a line to run.
function core.entries.repl_leave()
  local tasks = {}
  for t, holds in next, core.open.tasks do
    if holds then tasks[#tasks + 1] = t end
  end
  if #tasks == 0 and not inside then return false end
  core.result_text = nil
  core.start_main(function()
    for _, t in ipairs(tasks) do core.need("control").cancel(t) end
    for _, t in ipairs(tasks) do pcall(core.need("control").join, t) end
    -- An engine that is gone has forgotten the session, too.
    if inside then pcall(inside.close) end
  end)
  return true
end

-- Whether a line speaks of the last value. A `_` of its own counts too, which costs the script a line.
local function uses_last(source) return source:find "%f[%w_]_%f[^%w_]" ~= nil end

-- The session's lines as a script that does the same: {lines}.
-- What is only an expression is printed; `_` is kept where a later line needs it.
function core.entries.repl_script(what)
  local lines, last_use, text = what.lines, 0, ""
  for index, line in ipairs(lines) do
    text = text .. line .. "\n"
    if uses_last(line) then last_use = index end
  end
  local keep_name = "keep"
  while text:find("%f[%w_]" .. keep_name .. "%f[^%w_]") do keep_name = keep_name .. "_" end
  local out = {}
  if last_use > 1 then
    out[1] = "-- The last value, as at the prompt.\nlocal _\nlocal function " .. keep_name
      .. "(...)\n  if select(\"#\", ...) > 0 then _ = ... end\n  return ...\nend\n"
  end
  for index, line in ipairs(lines) do
    local is_expression = core.compile_expression(line, "=repl") ~= nil
    local is_statement = load(line, "=repl", "t") ~= nil
    local keeps = index < last_use
    if is_expression and (keeps or not is_statement) then
      line = line:gsub("[%s;]+$", "")
      local head, tail = "", ""
      if not is_statement then
        head, tail = "print(lunette.inspect(", "))"
        if not load("return (" .. line .. "\n)", "=repl", "t") then  -- several values
          head, tail = "for _, value in ipairs { ", " } do print(lunette.inspect(value)) end"
        end
      end
      if keeps then head, tail = head .. keep_name .. "(", ")" .. tail end
      -- A comment goes on to the line's end; what can't stand in parentheses at all (`1; -- one`) is a function's.
      local whole = head .. line .. (line:find "%-%-" and "\n" or "") .. tail
      if not load(whole, "=repl", "t") then
        whole = head .. "(function() return " .. line .. "\nend)()" .. tail
      end
      line = whole
    end
    out[#out + 1] = line
  end
  return table.concat(out, "\n")
end

-- The names that a script has to have from lunette itself, sorted.
function core.entries.repl_globals()
  local list = {}
  for name in next, core.need("library").globals do
    if name ~= "lunette" then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

-- What the word at the end of a line could become: {text, line, id}; the answer comes as `completed`.
function core.entries.complete(what)
  open_session()
  local complete = core.need "complete"
  local find = inside and function() return inside.complete(what) end or complete.finder(what, here)
  core.spawn({}, function()
    local ok, found = pcall(find)
    core.host.call("completed", what.id, ok and found or {})
  end)
  core.run_ready()
end

-- Puts the prompt inside resident code: {target, only_reads}; the main task says what it is.
function core.entries.repl_inside(what)
  open_session()
  inside = core.need("inside").new(what, plain_print)
  core.result_text = function(results) return results[1] end
  core.start_main(inside.open)
end

return {}
