-- The tokens of a Lua source, for `lunette check`: { kind = "name" | "number" | "string" | "symbol" | "end", value, line, closes }.

local tonumber, ipairs, select, table = tonumber, ipairs, select, table

local escapes = { n = "\n", t = "\t", r = "\r", a = "\a", b = "\b", f = "\f", v = "\v", ["\\"] = "\\", ["\""] = "\"", ["'"] = "'" }

local openers = { ["("] = ")", ["{"] = "}", ["["] = "]" }
local closers = { [")"] = true, ["}"] = true, ["]"] = true }

-- Has each bracket and each `function` say where it closes.
local function pair(tokens)
  local open = {}
  for at, t in ipairs(tokens) do
    local before = tokens[at - 1]
    local is_field = before and before.kind == "symbol" and (before.value == "." or before.value == ":")
    local word = t.kind == "name" and not is_field and t.value
    if t.kind == "symbol" and openers[t.value] or word == "function" or word == "if" or word == "do" or word == "repeat" then
      open[#open + 1] = t
    elseif #open > 0 and (t.kind == "symbol" and closers[t.value] or word == "end" or word == "until") then
      local opener = open[#open]
      open[#open] = nil
      if opener.kind == "symbol" or opener.value == "function" then opener.closes = at end
    end
  end
  return tokens
end

local function tokenize(source)
  local tokens, at, line = {}, 1, 1
  local function add(kind, value) tokens[#tokens + 1] = { kind = kind, value = value, line = line } end
  local function long_bracket(from)
    local level = source:match("^%[(=*)%[", from)
    if not level then return nil end
    local close = "]" .. level .. "]"
    local stop = source:find(close, from, true)
    if not stop then return nil end
    local text = source:sub(from + #level + 2, stop - 1)
    return text:gsub("^\n", ""), stop + #close, text
  end
  while at <= #source do
    local c = source:sub(at, at)
    if c == "\n" then
      line, at = line + 1, at + 1
    elseif c:match("%s") then
      at = at + 1
    elseif source:sub(at, at + 1) == "--" then
      local _, after, raw = long_bracket(at + 2)
      if after then
        line = line + select(2, raw:gsub("\n", ""))
        at = after
      else
        at = source:find("\n", at, true) or #source + 1
      end
    elseif c:match("[%a_]") then
      local name = source:match("^[%w_]+", at)
      add("name", name)
      at = at + #name
    elseif c:match("%d") or source:match("^%.%d", at) then
      local text = source:match("^0[xX][%x%.]+[pP][%+%-]?%d+", at) or source:match("^0[xX][%x%.]+", at)
        or source:match("^[%d%.]+[eE][%+%-]?%d+", at) or source:match("^%d*%.?%d+", at)
      add("number", tonumber(text) or 0)
      at = at + #text
      if source:sub(at, at) == "." and source:sub(at + 1, at + 1) ~= "." then at = at + 1 end
    elseif c == "\"" or c == "'" then
      local parts, i = {}, at + 1
      while true do
        local stop = source:find("[\\" .. c .. "]", i) or #source + 1
        parts[#parts + 1] = source:sub(i, stop - 1)
        if source:sub(stop, stop) ~= "\\" then
          at = stop + 1
          break
        end
        local escaped = source:sub(stop + 1, stop + 1)
        parts[#parts + 1] = escapes[escaped] or escaped
        if escaped == "\n" then line = line + 1 end
        i = stop + 2
        if escaped == "z" then
          local last = source:match("^%s*()", i)
          line = line + select(2, source:sub(i, last - 1):gsub("\n", ""))
          parts[#parts], i = "", last
        end
      end
      add("string", table.concat(parts))
    else
      local text, after, raw
      if c == "[" then text, after, raw = long_bracket(at) end
      if after then
        add("string", text)
        line = line + select(2, raw:gsub("\n", ""))
        at = after
      else
        local symbol = source:match("^%.%.%.", at) or source:match("^%.%.", at) or source:match("^[=~<>]=", at)
          or source:match("^//", at) or source:match("^::", at) or source:match("^<<", at) or source:match("^>>", at) or c
        add("symbol", symbol)
        at = at + #symbol
      end
    end
  end
  add("end")
  return pair(tokens)
end

local function is_symbol(t, value) return t.kind == "symbol" and t.value == value end
local function is_word(t, value) return t.kind == "name" and t.value == value end

return { tokenize = tokenize, openers = openers, closers = closers, is_symbol = is_symbol, is_word = is_word }
