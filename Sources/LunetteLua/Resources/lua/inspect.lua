-- lunette.inspect and what -e and the REPL print: sorted tables with a depth limit, handles and errors in one line.

local core = ...
local type, tostring, getmetatable, rawget, next = type, tostring, core.host.metatable, rawget, next
local format, concat, sort, rep = string.format, table.concat, table.sort, string.rep

local inspect = {}
local default_depth, default_width, most_items = 4, 96, 200

local keywords = {}
for word in ("and break do else elseif end false for function goto if in local nil not or repeat return then true until while")
  :gmatch("%a+") do keywords[word] = true end

local escapes = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\\"] = "\\\\", ["\""] = "\\\"", ["\27"] = "\\27" }

local function quote(text)
  -- Control bytes and what isn't UTF-8 are escaped: what is printed must not drive the terminal.
  text = text:gsub("[%c\\\"]", function(c) return escapes[c] or format("\\x%02x", c:byte()) end)
  if not utf8.len(text) then
    text = text:gsub("[\128-\255]", function(c) return format("\\x%02x", c:byte()) end)
  end
  return "\"" .. text .. "\""
end
inspect.quote = quote

local order = { number = 1, string = 2, boolean = 3 }
local function by_key(a, b)
  local ta, tb = type(a), type(b)
  if ta ~= tb then return (order[ta] or 9) < (order[tb] or 9) end
  if ta == "number" or ta == "string" then return a < b end
  return tostring(a) < tostring(b)
end

inspect.by_key = by_key

-- What of the engine's tables nobody looks for first: it would stand between what they do.
local innards = { start_profile = true }
local function by_key_then_innards(a, b)
  if innards[a] ~= innards[b] then return innards[b] == true end
  return by_key(a, b)
end

local function key_text(key)
  if type(key) == "string" and key:match("^[%a_][%w_]*$") and not keywords[key] then return key end
  return "[" .. (type(key) == "string" and quote(key) or tostring(key)) .. "]"
end

local function scalar(value)
  local kind = type(value)
  if kind == "string" then return quote(value) end
  if kind == "userdata" and value == core.host.null then return "lunette.null" end
  if kind == "number" and value % 1 == 0 and math.type(value) == "float" and value > -1e15 and value < 1e15 then
    return format("%d", value) .. ".0"
  end
  return tostring(value)
end

-- How kinds of values are set off on a terminal, as `select graphic rendition` has them.
local colours = {
  string = "32", number = "36", boolean = "35", ["nil"] = "35", userdata = "35", ["function"] = "34", thread = "34", table = "33",
}

local function plain(text) return text end
local function painted(text, kind)
  local code = colours[kind]
  return code and "\27[" .. code .. "m" .. text .. "\27[0m" or text
end
local function unpainted(text) return (text:gsub("\27%[%d*m", "")) end

-- Tables that speak for themselves: handles, errors, tasks, and anyone's with __tostring.
local function self_described(value)
  local meta = getmetatable(value)
  return type(meta) == "table" and rawget(meta, "__tostring") ~= nil
end

-- paint: gets a text and its kind
local function render(value, depth, indent, seen, width, paint)
  if type(value) ~= "table" then return paint(scalar(value), type(value)) end
  if self_described(value) then
    local text = tostring(value)
    return paint(core.is_error(value) and text or "<" .. text .. ">", "table")
  end
  if next(value) == nil then
    local meta = getmetatable(value)
    if not (type(meta) == "table" and rawget(meta, "__pairs")) or core.host.view_of(value) then return "{}" end
  end
  if seen[value] then return "<the same table>" end
  if depth <= 0 then return "{…}" end
  seen[value] = true
  local parts, keys, in_list = {}, {}, 0
  local length = #value
  for key in pairs(value) do
    if math.type(key) == "integer" and key >= 1 and key <= length then in_list = in_list + 1 else keys[#keys + 1] = key end
  end
  local left = 0
  for index = 1, length do
    if #parts >= most_items then left = left + 1
    else parts[#parts + 1] = render(value[index], depth - 1, indent + 2, seen, width, paint) end
  end
  sort(keys, by_key_then_innards)
  for _, key in ipairs(keys) do
    if #parts >= most_items then left = left + 1
    else parts[#parts + 1] = key_text(key) .. " = " .. render(value[key], depth - 1, indent + 2, seen, width, paint) end
  end
  seen[value] = nil
  if left > 0 then parts[#parts + 1] = "… " .. left .. " more" end
  local line = "{ " .. concat(parts, ", ") .. " }"
  local length_shown = paint == plain and #line or #unpainted(line)
  if length_shown + indent <= width and not line:find("\n", 1, true) then return line end
  local pad = rep(" ", indent + 2)
  return "{\n" .. pad .. concat(parts, ",\n" .. pad) .. "\n" .. rep(" ", indent) .. "}"
end

-- A value as Lua would write it. options: depth, width, has_colour
function inspect.value(value, options)
  options = options or {}
  return render(value, options.depth or default_depth, 0, {}, options.width or default_width, options.has_colour and painted or plain)
end

-- What -e prints: texts as they are, the rest as `value`; nothing when the chunk returned nothing.
function inspect.results(results)
  if results.n == 0 then return nil end
  local parts = {}
  for index = 1, results.n do
    local value = results[index]
    parts[index] = type(value) == "string" and value or inspect.value(value)
  end
  return concat(parts, "\t")
end

-- What the REPL prints: texts quoted, nil shown only among others.
function inspect.line(results, width, has_colour)
  if results.n == 0 or (results.n == 1 and results[1] == nil) then return nil end
  local parts = {}
  for index = 1, results.n do parts[index] = inspect.value(results[index], { width = width, has_colour = has_colour }) end
  return concat(parts, "\t")
end

---- tables ------------------------------------------------------------------------------------

local widest_cell, most_columns = 40, 12
local ages = { { 2 * 86400, "day", 86400 }, { 5400, "hour", 3600 }, { 120, "minute", 60 }, { 1, "second", 1 } }

-- How long ago a time was, as `lunette ps` says it.
local function age(time)
  local seconds = core.host.now() - time
  if seconds < 0 then return "not yet" end
  for _, unit in ipairs(ages) do
    if seconds >= unit[1] then
      local count = seconds // unit[3] | 0
      return count .. " " .. unit[2] .. (count == 1 and "" or "s") .. " ago"
    end
  end
  return "now"
end

local function cell(value, name)
  if value == nil then return "" end
  if type(value) == "number" and value > 1e8 and name and name:find "_at$" then return age(value) end
  -- An image is known by its reference.
  if type(value) == "table" and type(value.ref) == "string" and not self_described(value) then value = value.ref end
  -- An id is known by its beginning.
  if type(value) == "string" and #value == 64 and not value:find "%X" then return value:sub(1, 12) end
  local text = type(value) == "string" and not value:find "[%c\128-\255]" and value or render(value, 2, 0, {}, 1000, plain)
  if utf8.len(text) and utf8.len(text) > widest_cell then
    text = text:sub(1, utf8.offset(text, widest_cell) - 1) .. "…"
  end
  return text
end

-- Whether a value is a list of plain tables with names, as `inspect{}` and `list` of records give.
local function is_records(value)
  if type(value) ~= "table" or self_described(value) or #value == 0 then return false end
  for key, item in pairs(value) do
    if math.type(key) ~= "integer" or type(item) ~= "table" or self_described(item) or #item > 0 then return false end
  end
  return true
end

-- Names first, then what is short, then the rest: what doesn't fit is left out.
local leading = { name = 1, id = 2, event = 2, image = 3, status = 4, state = 5 }

-- A list of records as lines of columns; nil for what is none.
local function columns(value, width)
  if not is_records(value) then return nil end
  local names, widths = {}, {}
  for _, record in ipairs(value) do
    for key, item in pairs(record) do
      -- A column of empty tables says nothing.
      local is_empty = type(item) == "table" and next(item) == nil and (not getmetatable(item) or core.host.view_of(item))
      if type(key) == "string" and not is_empty then
        if not widths[key] then names[#names + 1] = key end
        widths[key] = math.max(widths[key] or #key, utf8.len(cell(item, key)) or 0)
      end
    end
  end
  sort(names, function(a, b)
    local first, second = leading[a] or 9, leading[b] or 9
    if first ~= second then return first < second end
    local is_wide, is_other_wide = widths[a] > 20, widths[b] > 20
    if is_wide ~= is_other_wide then return is_other_wide end
    return a < b
  end)
  local lines, used, count = {}, 0, 0
  for _, name in ipairs(names) do
    if count == most_columns or (count > 0 and used + widths[name] > width) then break end
    count, used = count + 1, used + widths[name] + 3
  end
  local function line(get)
    local parts = {}
    for index = 1, count do
      local text = get(names[index])
      parts[index] = text .. (index < count and rep(" ", widths[names[index]] - (utf8.len(text) or #text)) or "")
    end
    return concat(parts, "   ")
  end
  lines[1] = line(function(name) return name:upper() end)
  for index, record in ipairs(value) do lines[index + 1] = line(function(name) return cell(record[name], name) end) end
  return concat(lines, "\n")
end

-- What :watch shows: a list of records in columns, all else as the REPL prints it.
function inspect.screen(results, width)
  local text = results.n == 1 and columns(results[1], width or default_width)
  return text or inspect.line(results, width) or "nil"
end

return inspect
