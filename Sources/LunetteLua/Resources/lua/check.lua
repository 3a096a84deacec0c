-- `lunette check`: syntax, then the names and literal arguments of API calls, from the tokens alone. Nothing is run.
--
-- It follows `local lunette = require "lunette"`, `local image = lunette.image` and `local c = container.run{…}`; what it can't see
-- through (a table built elsewhere, a name reassigned) it leaves to the checks at run time.

local core = ...
local host_call = core.host.call
local tostring, ipairs, next = tostring, ipairs, next

---- tokens ------------------------------------------------------------------------------------

local escapes = { n = "\n", t = "\t", r = "\r", a = "\a", b = "\b", f = "\f", v = "\v", ["\\"] = "\\", ["\""] = "\"", ["'"] = "'" }

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
      local text = source:match("^0[xX][%x%.]*[pP]?[%+%-]?%x*", at) or source:match("^[%d%.]+[eE]?[%+%-]?%d*", at)
      add("number", tonumber(text))
      at = at + #text
    elseif c == "\"" or c == "'" then
      local parts, i = {}, at + 1
      while i <= #source and source:sub(i, i) ~= c do
        local piece = source:sub(i, i)
        if piece == "\\" then
          i = i + 1
          piece = escapes[source:sub(i, i)] or source:sub(i, i)
        end
        parts[#parts + 1] = piece
        i = i + 1
      end
      add("string", table.concat(parts))
      at = i + 1
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
  return tokens
end

---- literals ----------------------------------------------------------------------------------

local unknown = { ["$unknown"] = true }
local openers = { ["("] = true, ["{"] = true, ["["] = true }
local closers = { [")"] = true, ["}"] = true, ["]"] = true }

-- Skips one expression: to a comma, semicolon or closer of its own depth.
local function skip_expression(tokens, at)
  local depth, blocks = 0, 0
  while tokens[at].kind ~= "end" do
    local t = tokens[at]
    if t.kind == "symbol" then
      if depth == 0 and blocks == 0 and (t.value == "," or t.value == ";" or closers[t.value]) then return at end
      if openers[t.value] then depth = depth + 1 elseif closers[t.value] then depth = depth - 1 end
    elseif t.kind == "name" then
      if t.value == "function" or t.value == "do" or t.value == "if" or t.value == "repeat" then
        blocks = blocks + 1
      elseif t.value == "end" or t.value == "until" then
        blocks = blocks - 1
      end
    end
    at = at + 1
  end
  return at
end

local parse_table

-- Reads one expression: its value when it is a literal, else unknown; and where it ends.
local function parse_value(tokens, at)
  local t = tokens[at]
  local stop = skip_expression(tokens, at)
  if t.kind == "symbol" and t.value == "{" then
    local value, after = parse_table(tokens, at)
    if after == stop then return value, stop end
    return unknown, stop
  end
  local sign = 1
  if t.kind == "symbol" and t.value == "-" and tokens[at + 1].kind == "number" then
    sign, at = -1, at + 1
    t = tokens[at]
  end
  if stop ~= at + 1 then
    if t.kind == "name" and t.value == "function" then return { ["$function"] = true }, stop end
    return unknown, stop
  end
  if t.kind == "string" then return t.value, stop end
  if t.kind == "number" then return sign * t.value, stop end
  if t.kind == "name" and (t.value == "true" or t.value == "false") then return t.value == "true", stop end
  return unknown, stop
end

function parse_table(tokens, at)
  local map, list, is_open = {}, {}, false
  at = at + 1
  while not (tokens[at].kind == "symbol" and tokens[at].value == "}") do
    if tokens[at].kind == "end" then return unknown, at end
    local t, following = tokens[at], tokens[at + 1]
    local value
    if t.kind == "name" and following.kind == "symbol" and following.value == "=" then
      value, at = parse_value(tokens, at + 2)
      map[t.value] = value
    elseif t.kind == "symbol" and t.value == "[" then
      is_open = true
      at = skip_expression(tokens, at + 1) + 2
      at = select(2, parse_value(tokens, at))
    else
      value, at = parse_value(tokens, at)
      list[#list + 1] = value
    end
    if tokens[at].kind == "symbol" and (tokens[at].value == "," or tokens[at].value == ";") then at = at + 1
    elseif closers[tokens[at].value or ""] and tokens[at].value ~= "}" then return unknown, at end
  end
  if is_open then return unknown, at + 1 end
  local is_map = next(map) ~= nil
  if is_map and #list > 0 then return unknown, at + 1 end
  local value = is_map and map or list
  return value, at + 1
end

-- Reads the arguments of a call at its opener: their values and the token after them; nil when it isn't a call.
local function parse_arguments(tokens, at)
  local t = tokens[at]
  if t.kind == "string" then return { t.value }, at + 1 end
  if t.kind ~= "symbol" then return nil end
  if t.value == "{" then
    local value, after = parse_table(tokens, at)
    return { value }, after
  end
  if t.value ~= "(" then return nil end
  local values = {}
  at = at + 1
  while not (tokens[at].kind == "symbol" and tokens[at].value == ")") do
    if tokens[at].kind == "end" then return nil end
    values[#values + 1], at = parse_value(tokens, at)
    if tokens[at].kind == "symbol" and tokens[at].value == "," then at = at + 1
    elseif not (tokens[at].kind == "symbol" and tokens[at].value == ")") then return nil end
  end
  return values, at + 1
end

---- names -------------------------------------------------------------------------------------

local function is_symbol(t, value) return t.kind == "symbol" and t.value == value end

-- For each token, whether a function's body is around it: what isn't runs while the file is loaded.
local function find_functions(tokens)
  local inside, blocks, depth = {}, {}, 0
  for at, t in ipairs(tokens) do
    inside[at] = depth > 0
    if t.kind == "name" and not (at > 1 and (is_symbol(tokens[at - 1], ".") or is_symbol(tokens[at - 1], ":"))) then
      if t.value == "function" or t.value == "if" or t.value == "do" or t.value == "repeat" then
        blocks[#blocks + 1] = t.value
        if t.value == "function" then depth = depth + 1 end
      elseif (t.value == "end" or t.value == "until") and #blocks > 0 then
        if blocks[#blocks] == "function" then depth = depth - 1 end
        blocks[#blocks] = nil
      end
    end
  end
  return inside
end

-- What limited states don't have.
local unlimited = {
  io = "io", os = "os", debug = "debug", package = "package", dofile = "dofile", loadfile = "loadfile",
}

-- Checks a source; returns a list of {line, message, hint}, and one of the calls {line, name, permission}.
local function check(source, name, is_resident)
  local problems, calls = {}, {}
  source = source:gsub("^#[^\n]*", "")
  local f, problem = load(source, name, "t")
  if not f then
    local line, message = tostring(problem):match(":(%d+): (.*)$")
    return { { line = tonumber(line) or 1, message = message or problem } }, calls
  end
  local tokens = tokenize(source)
  local inside = find_functions(tokens)
  local roots, nouns, handles, own = {}, {}, {}, {}
  if is_resident then
    -- What limited states have as globals.
    roots.lunette = true
    for _, noun in ipairs { "fs", "json", "log", "task" } do nouns[noun] = noun end
  end
  local function report(line, e) problems[#problems + 1] = { line = line, message = e.message, hint = e.hint } end

  -- What a chain of names starting at `at` means: {kind = "root"|"noun"|"function", …}, and the token after it.
  local function resolve(at)
    local t = tokens[at]
    if t.kind ~= "name" then return nil end
    local before = tokens[at - 1]
    if before and (is_symbol(before, ".") or is_symbol(before, ":")) then return nil end
    local meaning
    if roots[t.value] then meaning = { kind = "root" }
    elseif nouns[t.value] then meaning = { kind = "noun", noun = nouns[t.value] }
    elseif handles[t.value] and is_symbol(tokens[at + 1], ":") and tokens[at + 2].kind == "name" then
      return { kind = "method", noun = handles[t.value], verb = tokens[at + 2].value, line = tokens[at + 2].line }, at + 3
    else return nil end
    at = at + 1
    while meaning.kind ~= "function" and is_symbol(tokens[at], ".") and tokens[at + 1].kind == "name" do
      local word = tokens[at + 1].value
      meaning = meaning.kind == "root" and { kind = "noun", noun = word }
        or { kind = "function", noun = meaning.noun, verb = word, line = tokens[at + 1].line }
      at = at + 2
    end
    meaning.line = meaning.line or tokens[at - 1].line
    return meaning, at
  end

  local at = 1
  while tokens[at].kind ~= "end" do
    local t = tokens[at]
    if t.kind == "name" and t.value == "local" and tokens[at + 1].kind == "name" and tokens[at + 1].value ~= "function" then
      -- local a, b = x, y
      local names, i = {}, at + 1
      while tokens[i].kind == "name" do
        names[#names + 1] = tokens[i].value
        i = i + 1
        if is_symbol(tokens[i], "<") then i = i + 3 end
        if not is_symbol(tokens[i], ",") then break end
        i = i + 1
      end
      for _, word in ipairs(names) do roots[word], nouns[word], handles[word], own[word] = nil, nil, nil, true end
      if is_symbol(tokens[i], "=") then
        i = i + 1
        for _, word in ipairs(names) do
          local first, second = tokens[i], tokens[i + 1]
          if first.kind == "name" and first.value == "require" then
            local module = is_symbol(second, "(") and tokens[i + 2] or second
            local after = is_symbol(second, "(") and i + 4 or i + 2
            local field, behind = tokens[after + 1], tokens[after + 2]
            local is_ours = module.kind == "string" and module.value == "lunette"
            if is_ours and not is_symbol(tokens[after], ".") then roots[word] = true
            elseif is_ours and field.kind == "name"
              and (behind.kind ~= "symbol" or is_symbol(behind, ",") or is_symbol(behind, ";")) then
              nouns[word] = field.value
            end
          else
            local meaning, after = resolve(i)
            if meaning and meaning.kind == "noun" then nouns[word] = meaning.noun
            elseif meaning and meaning.kind == "function" then
              -- The call's own value, not that of something called on it.
              local values, stop = parse_arguments(tokens, after)
              local goes_on = not values or (tokens[stop].kind == "symbol" and not is_symbol(tokens[stop], ",")
                and not is_symbol(tokens[stop], ";"))
              local kind = not goes_on and host_call("check.result", meaning.noun .. "." .. meaning.verb)
              if kind then handles[word] = kind end
            end
          end
          local depth = 0
          while tokens[i].kind ~= "end" and not (depth == 0 and is_symbol(tokens[i], ",")) do
            if tokens[i].line > tokens[at].line and depth == 0 then break end
            if tokens[i].kind == "symbol" and openers[tokens[i].value] then depth = depth + 1
            elseif tokens[i].kind == "symbol" and closers[tokens[i].value] then depth = depth - 1 end
            if depth < 0 then break end
            i = i + 1
          end
          if not is_symbol(tokens[i], ",") then break end
          i = i + 1
        end
      end
      at = at + 1 + (#names * 2 - 1)
    elseif t.kind == "name" and is_symbol(tokens[at + 1], "=") and not (at > 1 and is_symbol(tokens[at - 1], ".")) then
      -- An assignment (or a field of a table, which does no harm): the name may mean something else from here.
      if handles[t.value] then handles[t.value] = nil end
      at = at + 1
    else
      local meaning, after = resolve(at)
      if is_resident and t.kind == "name" and unlimited[t.value] and not own[t.value] and not (at > 1
        and (is_symbol(tokens[at - 1], ".") or is_symbol(tokens[at - 1], ":"))) then
        report(t.line, {
          message = "resident code has no " .. t.value, hint = "it has string, table, math, utf8, coroutine, and the API",
        })
      end
      if meaning and meaning.kind ~= "root" then
        local values = parse_arguments(tokens, after)
        local given = {
          kind = meaning.kind, noun = meaning.noun, verb = meaning.verb, arguments = values, name = name, is_call = values ~= nil,
          is_loading = is_resident and not inside[at] or nil,
        }
        local found = host_call("check.call", given) or {}
        for _, e in ipairs(found.problems or {}) do report(meaning.line, e) end
        if found.call then
          found.call.line = meaning.line
          calls[#calls + 1] = found.call
        end
        at = after
      else
        at = at + 1
      end
    end
  end
  return problems, calls
end

-- {source, name, is_resident}: problems, calls
function core.entries.check(what) return check(what.source, what.name, what.is_resident) end

return { check = check }
