-- The REPL's evaluator: a line is a chunk, top-level locals live on, `_` is the last value.

local core = ...
local inspect = core.need "inspect"
local pack, unpack = table.pack, table.unpack

local names, values = {}, {}     -- the session's locals; values by name
local most_locals = 150          -- Lua allows 200 in a function

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
  core.need("library").open { globals = true, name = "repl", script = "repl" }
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

-- What the name at the end of a text could become: {text} → whole names, with what stands before the last dot. Nothing is called.
function core.entries.complete(what)
  core.need("library").open { globals = true, name = "repl", script = "repl" }
  local path, part = what.text:match("([%w_%.:]*[%.:])([%w_]*)$")
  local candidates, value = {}
  if path then
    value = _G
    for word in path:gmatch("[%w_]+") do
      if type(value) ~= "table" or core.need("nouns").is_handle(value) then break end
      local found = values[word]
      if found == nil or value ~= _G then found = rawget(value, word) end
      if found == nil and value == _G and core.need("library").globals[word] then
        found = word == "lunette" and core.lunette or core.lunette[word]
      elseif found == nil and value == core.lunette and core.need("library").globals[word] then
        found = core.lunette[word]
      end
      value = found
    end
  else
    part, value = what.text:match("([%a_][%w_]*)$") or "", _G
    for _, name in ipairs(names) do candidates[#candidates + 1] = name end
    for name in next, core.need("library").globals do candidates[#candidates + 1] = name end
  end
  if type(value) == "table" then
    local handle = core.need("nouns").is_handle(value) and rawget(value, "$handle")
    for name in next, handle and core.need("nouns").methods(handle) or value do
      if type(name) == "string" then candidates[#candidates + 1] = name end
    end
    if value == core.lunette then
      for name in next, core.need("library").globals do candidates[#candidates + 1] = name end
    end
  end
  local seen, matching = {}, {}
  for _, name in ipairs(candidates) do
    if name:sub(1, #part) == part and not seen[name] and name:match("^[%a_][%w_]*$") then
      seen[name] = true
      matching[#matching + 1] = (path or "") .. name
    end
  end
  table.sort(matching)
  return matching
end

return {}
