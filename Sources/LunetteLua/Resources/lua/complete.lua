-- Completion at the prompt: names of the API and of live values, options of the table being written, names of live objects in a text.

local core = ...
local nouns, library = core.need "nouns", core.need "library"
local host_call = core.host.call
local type, next, ipairs, rawget, pcall = type, next, ipairs, rawget, pcall

local complete = {}

-- Those that begin with `part`, once each, sorted; `head` goes before each.
local function matching(words, part, head)
  local seen, found = {}, {}
  for _, word in ipairs(words) do
    if word:sub(1, #part) == part and not seen[word] then
      seen[word] = true
      found[#found + 1] = (head or "") .. word
    end
  end
  table.sort(found)
  return found
end

-- What is open at the end of a line: brackets with what stands before them, and where a text began.
local function scan(line)
  local open, quote, index = {}, nil, 1
  while index <= #line do
    local c = line:sub(index, index)
    if quote then
      if c == "\\" then index = index + 1 elseif c == line:sub(quote, quote) then quote = nil end
    elseif c == "\"" or c == "'" then quote = index
    elseif c == "(" or c == "{" or c == "[" then open[#open + 1] = { kind = c, before = line:sub(1, index - 1) }
    elseif c == ")" or c == "}" or c == "]" then open[#open] = nil
    end
    index = index + 1
  end
  return open, quote
end

-- The value of a dotted path, looked at and never called.
local function value_of(path, locals)
  local value = _G
  for word in path:gmatch("[%w_]+") do
    if type(value) ~= "table" or nouns.is_handle(value) then break end
    local found
    if value == _G then found = locals[word] end
    if found == nil then found = rawget(value, word) end
    if found == nil and (value == _G or value == core.lunette) and library.globals[word] then
      found = word == "lunette" and core.lunette or core.lunette[word]
    end
    value = found
  end
  return value
end

-- `container.run`, `c:exec` or the end of `container.get"x":exec` → the API's name for it
local function function_name(path, locals)
  local object, verb = path:match("^(.-):([%w_]+)$")
  if not object then return (path:gsub("^lunette%.", "")) end
  local value = object ~= "" and value_of(object, locals)
  if nouns.is_handle(value) then return rawget(value, "$handle") .. "." .. verb end
  for _, noun in ipairs { "container", "volume", "image" } do
    if nouns.methods(noun)[verb] then return noun .. "." .. verb end
  end
end

-- The options of the table that is open at the end of the line; nil when it is no call's.
local function options(open, locals)
  local keys = {}
  for index = #open, 1, -1 do
    local bracket = open[index]
    local key = bracket.before:match("([%w_]+)%s*=%s*$")
    local path = bracket.before:match("[%)\"'](:[%w_]+)%s*$") or bracket.before:match("([%a_][%w_%.:]*)%s*$")
    if bracket.kind == "[" then return nil end
    if key then
      table.insert(keys, 1, key)
    elseif path then
      local name = function_name(path, locals)
      return name and host_call("fields", name, keys)
    elseif bracket.kind == "{" and index > 1 and open[index - 1].kind == "{" then
      table.insert(keys, 1, "")    -- an item of a list
    end
  end
end

-- Which noun's objects a text names, by what stands before it.
local function noun_of(before)
  local noun = before:match("([%a]+)%.[%w_]+%s*%(?%s*$")
  if noun == "container" or noun == "image" or noun == "volume" then return noun end
  local key = before:match("([%w_]+)%s*=%s*$")
  return ({ image = "image", from = "image", source = "volume" })[key or ""]
end

local function offer_names(noun, text, part, id)
  core.spawn({}, function()
    local ok, list = pcall(core.lunette[noun].list, noun == "container" and { all = true } or {})
    local names = {}
    for _, object in ipairs(ok and list or {}) do names[#names + 1] = rawget(object, "name") end
    local found = matching(names, part)
    -- The editor's word may begin later than the text does: it breaks at dashes and slashes.
    for index, name in ipairs(found) do found[index] = name:sub(#part - #text + 1) end
    host_call("completed", id, found)
  end)
  core.run_ready()
end

-- {text, line, id} → words, with what stands before the last dot; nothing: they come as `completed`
function complete.words(what, locals)
  local text, line = what.text, what.line or what.text
  local open, quote = scan(line)
  if quote then
    local noun = what.id and noun_of(line:sub(1, quote - 1))
    if not noun then return {} end
    offer_names(noun, text, line:sub(quote + 1), what.id)
    return nil
  end
  local path, part = text:match("([%w_%.:]*[%.:])([%w_]*)$")
  local words = {}
  if path == ":" then
    -- Of what a call gives: the noun's objects, as `container.get("x")` does.
    local noun = line:sub(1, #line - #text):match("(%a+)%.[%w_]+%s*%(?%s*[\"'][^\"']*[\"']%s*%)?$")
    if not ({ container = true, image = true, volume = true })[noun or ""] then return {} end
    for name in next, nouns.methods(noun) do words[#words + 1] = name end
    return matching(words, part, path)
  elseif path then
    local value = value_of(path, locals)
    if type(value) ~= "table" then return {} end
    local noun = nouns.is_handle(value) and rawget(value, "$handle")
    for name in next, noun and nouns.methods(noun) or value do
      if type(name) == "string" and name:match("^[%a_][%w_]*$") then words[#words + 1] = name end
    end
    if value == core.lunette then
      for name in next, library.globals do words[#words + 1] = name end
    end
    return matching(words, part, path)
  end
  part = text:match("([%a_][%w_]*)$") or ""
  local known = #open > 0 and line:sub(1, #line - #part):match("[{,]%s*$") and options(open, locals)
  if known and #known > 0 then return matching(known, part) end
  for name in next, locals do words[#words + 1] = name end
  for name in next, library.globals do words[#words + 1] = name end
  for name in next, _G do
    if type(name) == "string" and name:match("^[%a_][%w_]*$") then words[#words + 1] = name end
  end
  return matching(words, part)
end

return complete
