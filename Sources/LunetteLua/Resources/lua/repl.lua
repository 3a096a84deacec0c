-- The REPL's evaluator: a line is a chunk, top-level locals live on, `_` is the last value.

local core = ...
local pcall, tostring, type = pcall, tostring, type
local inspect = core.need "inspect"
local pack, unpack = table.pack, table.unpack

local names, values = {}, {}     -- the session's locals; values by name
local most_locals = 150          -- Lua allows 200 in a function

local is_open = false
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
  core.need("library").open { globals = true, name = "repl", script = "repl" }
  function _G.print(...)
    local parts = pack(...)
    for index = 1, parts.n do parts[index] = tostring(parts[index]) end
    note(table.concat(parts, "\t"))
  end
  -- What a line spawned goes on beside the prompt. When it fails after its line has ended, nobody asks for that any more.
  core.is_prompt = true
  local note_failed = core.note_failed
  function core.note_failed(t)
    if core.is_of_main(t) then return note_failed(t) end
    local place = debug.getinfo(t.f, "S")
    note("lunette: the task at " .. place.short_src .. ":" .. place.linedefined .. " failed: " .. core.report(t).message)
  end
end

-- The locals of the session in front of a chunk; on the same line, so that line numbers stay.
local function prefix()
  if #names == 0 then return "" end
  return "local " .. table.concat(names, ", ") .. " = ...; "
end

local function keep(name, value)
  if values[name] == nil then
    local known = false
    for _, other in ipairs(names) do known = known or other == name end
    if not known then
      names[#names + 1] = name
      if #names > most_locals then values[table.remove(names, 1)] = nil end
    end
  end
  values[name] = value
end

local function compile(source)
  local f = core.compile_expression(source, "=repl", prefix())
  if f then return f end
  return load(prefix() .. source, "=repl", "t")
end

-- Runs f and keeps the locals it has when it returns.
local function run(f)
  local arguments = {}
  for index, name in ipairs(names) do arguments[index] = values[name] end
  local count = #names
  debug.sethook(function()
    if debug.getinfo(2, "f").func ~= f then return end
    local index = 1
    while true do
      local name, value = debug.getlocal(2, index)
      if not name then break end
      if name:match("^[%a_][%w_]*$") and name ~= "values__" then keep(name, value) end
      index = index + 1
    end
  end, "r")
  local results = pack(f(unpack(arguments, 1, count)))
  debug.sethook()
  if results.n > 0 then rawset(_G, "_", results[1]) end
  return unpack(results, 1, results.n)
end

-- {source} → "incomplete", or nothing: the line runs as the main task
function core.entries.repl_line(what)
  open_session()
  local f, problem = compile(what.source)
  if not f then
    if problem:sub(-5) == "<eof>" and not what.is_last then return "incomplete" end
    core.host.call("finished", { ok = false, error = { code = "script_failed", message = problem }, failed = {} })
    return nil
  end
  core.result_text = what.as_json and function(results)
    local value = results[1]
    if value == nil then value = core.host.null end
    return core.host.call("json.encode", value, true)
  end or inspect.line
  core.start_main(run, f)
end

---- commands ----------------------------------------------------------------------------------

-- :watch — evaluates again and again until it is cancelled: {source, period}
function core.entries.repl_watch(what)
  open_session()
  local f, problem = compile(what.source)
  if not f then
    core.host.call("finished", { ok = false, error = { code = "script_failed", message = problem }, failed = {} })
    return
  end
  core.result_text = nil
  held = { n = 0 }
  core.start_main(function()
    while true do
      local ok, text = pcall(function() return inspect.line(pack(run(f))) end)
      local e = not ok and text
      if e and core.is_error(e) and e:is "cancelled" then return end
      core.host.call("repl.show", ok and text or tostring(e or "nil"))
      if not pcall(core.call, "sleep", what.period) then return end
    end
  end)
end

-- :watch has ended, its screen is the user's again.
function core.entries.repl_watched() if held then release() end end

-- :tasks — what runs beside the prompt, one line each
function core.entries.repl_tasks()
  local lines = {}
  for t in next, core.open.tasks do
    local place = type(t.f) == "function" and debug.getinfo(t.f, "S")
    -- The stdlib's own are the innards of what the user made.
    if t.label or not (place and place.short_src:match("^%[lunette")) then
      lines[#lines + 1] = (t.label or "task") .. " (" .. (t.token and "waiting" or t.state) .. ")"
        .. (place and place.what ~= "C" and " at " .. place.short_src .. ":" .. place.linedefined or "")
    end
  end
  table.sort(lines)
  return lines
end

local followed           -- the task that shows events

-- :events on, :events off — each event as a line: {on}
function core.entries.repl_events(what)
  if followed then
    core.cancel(followed)
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
  for t in next, core.open.alive do tasks[#tasks + 1] = t end
  if #tasks == 0 then return false end
  core.result_text = nil
  core.start_main(function()
    for _, t in ipairs(tasks) do core.cancel(t) end
    for _, t in ipairs(tasks) do pcall(core.join, t) end
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

-- What the word at the end of a line could become: {text, line, id}; nothing is called but the engine's lists
function core.entries.complete(what)
  open_session()
  return core.need("complete").words(what, values)
end

return {}
