-- Completion at the prompt: names of the API and of live values, options and results with their types, names of live objects in a text.
--
-- What a word could become is an item: { word, detail, suffix, shown }. The detail stands beside it in a list, the suffix behind it when
-- it is the only one; what is shown in a list is the whole name where the word is only its end.

local core = ...
local nouns, library, sessions = core.need "nouns", core.need "library", core.need "session"
local host_call = core.host.call
local type, next, ipairs, rawget, pcall, getmetatable = type, next, ipairs, rawget, pcall, getmetatable
local sort, insert = table.sort, table.insert

local complete = {}

local keywords = {}
for word in ("and break do else elseif end false for function goto if in local nil not or repeat return then true until while")
  :gmatch("%a+") do keywords[#keywords + 1] = word end

-- Those that begin with `part`, once each, sorted; `head` goes before each. Items, or words alone.
local function matching(list, part, head)
  local seen, found = {}, {}
  for _, item in ipairs(list) do
    local word = type(item) == "table" and item[1] or item
    if word:sub(1, #part) == part and not seen[word] then
      seen[word] = true
      local detail, suffix
      if type(item) == "table" then detail, suffix = item[2], item[3] end
      found[#found + 1] = { (head or "") .. word, detail or "", suffix or "" }
    end
  end
  sort(found, function(a, b) return a[1] < b[1] end)
  return found
end

---- where the cursor is --------------------------------------------------------------------------

-- What is open at the end of a line: brackets with what stands before them, where a text began, whether it is a comment.
local function scan(line)
  local open, index = {}, 1
  while index <= #line do
    local last = sessions.skipped(line, index)
    if last then
      local head = line:sub(index, index + 1)
      local is_comment = head == "--"
      -- A text or a comment that isn't closed holds the cursor.
      local closes = is_comment and line:sub(last, last) == "\n" or not is_comment and last > index
        and (line:sub(last, last) == head:sub(1, 1) or line:sub(last, last) == "]")
      if is_comment and line:find("^%-%-%[=*%[", index) then closes = line:sub(last, last) == "]" end
      if not closes then return open, not is_comment and index or nil, is_comment end
      index = last
    else
      local c = line:sub(index, index)
      if c == "(" or c == "{" or c == "[" then open[#open + 1] = { kind = c, at = index, before = line:sub(1, index - 1) }
      elseif c == ")" or c == "}" or c == "]" then open[#open] = nil
      end
    end
    index = index + 1
  end
  return open, nil, false
end

-- The value of a dotted path, looked at and never called.
local function value_of(path, session)
  local globals, value = session.globals, nil
  for word in path:gmatch("[%w_]+") do
    if value == nil then
      value = session.values[word]
      if value == nil then value = rawget(globals, word) end
      if value == nil then value = rawget(_G, word) end
      if value == nil and library.globals[word] then value = word == "lunette" and core.lunette or core.lunette[word] end
    elseif type(value) ~= "table" or nouns.is_handle(value) then
      return nil
    else
      local found = rawget(value, word)
      local meta = getmetatable(value)
      if found == nil and type(meta) == "table" and type(meta.__index) == "table" then found = rawget(meta.__index, word) end
      if found == nil and value == core.lunette and library.globals[word] then found = core.lunette[word] end
      value = found
    end
    if value == nil then return nil end
  end
  return value
end

-- The noun of the handle that a name stands for: its value, or what the chunk that is being typed gives it.
local function noun_of_name(name, line, session)
  local value = value_of(name, session)
  if nouns.is_handle(value) then return rawget(value, "$handle") end
  if not name:find("^[%w_]+$") then return nil end
  local called = line:match("%f[%w_]" .. name .. "%s*=%s*([%a_][%w_%.]*)%s*[%(%{\"']")
  if called then return host_call("complete.result", (called:gsub("^lunette%.", "")), {}).handle end
  return line:match("%f[%w_]" .. name .. "%s+in%s+ipairs%s*%(?%s*([%a]+)%.list")
    or line:match("%f[%w_]" .. name .. "%s+in%s+ipairs%s*%(?%s*lunette%.([%a]+)%.list")
end

local object_nouns = { "container", "volume", "image" }

-- `container.run`, `c:exec` or the end of `container.get"x":exec` → the API's name for it
local function function_name(path, line, session)
  local object, verb = path:match("^(.-):([%w_]+)$")
  if not object then return (path:gsub("^lunette%.(%a+%.)", "%1")) end
  local noun = object ~= "" and noun_of_name(object, line, session)
  if noun then return noun .. "." .. verb end
  for _, name in ipairs(object_nouns) do
    if nouns.methods(name)[verb] then return name .. "." .. verb end
  end
end

-- The call whose table or arguments are open at the end of the line: its name, the keys down to the cursor, the argument's place.
local function call_around(open, line, session)
  local keys, place = {}, nil
  for index = #open, 1, -1 do
    local bracket = open[index]
    if bracket.kind == "[" then return nil end
    local key = bracket.before:match("([%w_]+)%s*=%s*$")
    local path = bracket.before:match("[%)\"'%]](:[%w_]+)%s*$") or bracket.before:match("([%a_][%w_%.:]*)%s*$")
    if key then
      insert(keys, 1, key)
    elseif path then
      if bracket.kind == "(" and index == #open then
        -- A method's object stands before the colon.
        place = path:find(":", 1, true) and 2 or 1
        -- Commas of this bracket alone: those inside others stand behind it in the line.
        local depth = 0
        for c in line:sub(bracket.at + 1):gmatch("[%(%){}%[%],]") do
          if c == "," and depth == 0 then place = place + 1
          elseif c:find("[%({%[]") then depth = depth + 1
          elseif c ~= "," then depth = depth - 1 end
        end
      end
      return function_name(path, line, session), keys, place
    elseif bracket.kind == "{" and index > 1 and open[index - 1].kind == "{" then
      insert(keys, 1, "")    -- an item of a list
    end
  end
end

---- values that a place takes --------------------------------------------------------------------

-- Those that may begin with `part`: of a thousand containers the engine needn't send all.
local function names_of(noun, part)
  local ok, list = pcall(function()
    if noun ~= "container" then return core.lunette[noun].list() end
    return core.lunette.container.list { all = true, name = part ~= "" and part or nil }
  end)
  local names = {}
  for _, object in ipairs(ok and list or {}) do
    local name = rawget(object, "name")
    if name then names[#names + 1] = name end
  end
  return names
end

-- What may stand in the text that began at `quote`: a list, or nil when nobody knows.
local function texts(open, quote, line, session)
  local before = line:sub(1, quote - 1)
  local key = before:match("([%w_]+)%s*=%s*$")
  local what
  if key then
    local name, keys = call_around(open, before, session)
    if name and keys then
      keys[#keys + 1] = key
      what = host_call("complete.value", name, keys)
    end
  else
    -- Before a text alone: `container.get "`, `c:exec "`; else an argument in brackets, or an item of a list.
    local path = before:match("[%)\"'%]](:[%w_]+)%s*$") or before:match("([%a_][%w_%.:]*)%s*$")
    local name, keys, place
    if path then
      name, place = function_name(path, line, session), path:find(":", 1, true) and 2 or 1
    else
      name, keys, place = call_around(open, before, session)
    end
    if name and place then
      what = host_call("complete.argument", name, place)
    elseif name and keys and #keys > 0 then
      keys[#keys + 1] = ""
      what = host_call("complete.value", name, keys)
    end
  end
  if not what then return nil end
  if what.noun then
    local names = names_of(what.noun, line:sub(quote + 1))
    for _, word in ipairs(what.words) do names[#names + 1] = word end
    return names
  end
  return #what.words > 0 and what.words or nil
end

---- words ----------------------------------------------------------------------------------------

local function methods_of(noun)
  local list = {}
  for name in next, nouns.methods(noun) do list[#list + 1] = { name, host_call("complete.summary", noun .. "." .. name) } end
  return list
end

-- Names in a table: functions of the API with what they do.
local function members(value, path, list)
  for name in next, value do
    if type(name) == "string" and name:match("^[%a_][%w_]*$") then
      local api = path and host_call("complete.summary", path .. name) or ""
      list[#list + 1] = { name, api }
    end
  end
end

local function globals(session, line)
  local list = {}
  for _, name in ipairs(session.names) do list[#list + 1] = name end
  -- Locals of the chunk that is being typed, too.
  for name in line:gmatch("%f[%w_]local%s+([%a_][%w_]*)") do
    if name ~= "function" then list[#list + 1] = name end
  end
  for name in next, library.globals do list[#list + 1] = { name, host_call("complete.summary", name) } end
  for _, space in ipairs { session.globals, _G } do
    for name in next, space do
      if type(name) == "string" and name:match("^[%a_][%w_]*$") then list[#list + 1] = name end
    end
  end
  for _, word in ipairs(keywords) do list[#list + 1] = word end
  return list
end

-- Of what a call gives: `container.get("web"):`, `c:inspect().` and further down.
local function of_result(path, line, text, session)
  local fields = {}
  for field in path:gmatch("([%w_]+)%.") do fields[#fields + 1] = field end
  local head = line:sub(1, #line - #text)
  local called
  for _, arguments in ipairs { "%b()$", "%b{}$", "%b\"\"$", "%b''$" } do
    -- A method of what another call gives comes first: its name alone would be taken for a function's.
    called = called or head:match("[%)\"'%]}](:[%w_]+)%s*" .. arguments) or head:match("([%a_][%w_%.:]*)%s*" .. arguments)
  end
  local name = called and function_name(called, line, session)
  if not name then return {} end
  return host_call("complete.result", name, fields)
end

local function words(text, line, open, session)
  local path, part = text:match("([%w_%.:]*[%.:])([%w_]*)$")
  if path then
    local list = {}
    local mark = path:sub(-1)
    if path:match("^[%.:]") then
      local result = of_result(path, line, text, session)
      if mark == ":" and result.handle then list = methods_of(result.handle)
      elseif mark == "." then list = result.fields or {} end
      return matching(list, part, path)
    end
    local name = path:sub(1, -2)
    local noun = noun_of_name(name, line, session)
    if noun then
      if mark == ":" then list = methods_of(noun) end
      return matching(list, part, path)
    end
    local value = value_of(name, session)
    if type(value) == "string" and mark == ":" then value = getmetatable("").__index end
    if type(value) ~= "table" then return {} end
    local api = path:gsub("^lunette%.(%a)", "%1")
    members(value, api, list)
    local meta = getmetatable(value)
    if type(meta) == "table" and type(meta.__index) == "table" then members(meta.__index, nil, list) end
    if value == core.lunette then
      for global in next, library.globals do list[#list + 1] = { global, host_call("complete.summary", global) } end
      for _, item in ipairs(host_call("complete.members", "lunette")) do list[#list + 1] = item end
    end
    return matching(list, part, path)
  end
  part = text:match("([%a_][%w_]*)$") or ""
  local before = line:sub(1, #line - #part)
  if #open > 0 then
    local name, keys = call_around(open, line, session)
    if name and keys and before:match("[{,;]%s*$") and open[#open].kind == "{" then
      local known = host_call("complete.options", name, keys)
      if #known > 0 then
        -- What the table has already is no option any more.
        local given = {}
        for key in line:sub(open[#open].at + 1):gsub("%b{}", ""):gmatch("%f[%w_]([%a_][%w_]*)%s*=") do given[key] = true end
        local free = {}
        for _, item in ipairs(known) do
          if not given[item[1]] then free[#free + 1] = item end
        end
        return matching(free, part)
      end
    end
    local key = before:match("([%w_]+)%s*=%s*$")
    if name and keys and key and open[#open].kind == "{" then
      keys[#keys + 1] = key
      local list = {}
      local what = host_call("complete.value", name, keys)
      for _, word in ipairs(what.words) do list[#list + 1] = "\"" .. word .. "\"" end
      if what.is_boolean then list[#list + 1] = "true"; list[#list + 1] = "false" end
      if part == "" and #list > 0 then return matching(list, part) end
      if what.is_boolean then return matching({ "true", "false" }, part) end
    end
  end
  if before:match("%f[%w_]local%s+$") or before:match("%f[%w_]for%s+$") then return {} end
  return matching(globals(session, line), part)
end

-- {text, line} → a function that gives items when a task calls it; it may wait for the engine's lists, and calls nothing else
function complete.finder(what, session)
  local text, line = what.text, what.line or what.text
  return function()
    local open, quote, is_comment = scan(line)
    if is_comment then return {} end
    if not quote then return words(text, line, open, session) end
    local part = line:sub(quote + 1)
    local known = texts(open, quote, line, session)
    if not known then return {} end
    local found = matching(known, part)
    for _, item in ipairs(found) do
      -- The editor's word may begin later than the text does: it breaks at dashes and slashes.
      item[4] = item[1]
      item[1] = item[1]:sub(#part - #text + 1)
      item[3] = line:sub(quote, quote)
    end
    return found
  end
end

return complete
