-- `lunette check`: syntax, then the names and literal arguments of API calls, from the tokens alone. Nothing is run.
--
-- It follows `local lunette = require "lunette"`, `local image = lunette.image`, `local c = container.run{…}`, what is called on a call's
-- result and a handler's event, block by block; what it can't see through (a table built elsewhere, a name reassigned) it leaves to the
-- checks at run time.

local core = ...
local host_call = core.host.call
local tostring, tonumber, ipairs, next, setmetatable, select = tostring, tonumber, ipairs, next, setmetatable, select

---- tokens ------------------------------------------------------------------------------------

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

---- literals ----------------------------------------------------------------------------------

local unknown = { ["$unknown"] = true }

-- Skips one expression: to a comma, semicolon or closer of its own depth; where none stands behind it, to its end.
local function skip_expression(tokens, at)
  while tokens[at].kind ~= "end" do
    local t = tokens[at]
    if t.kind == "symbol" and (t.value == "," or t.value == ";" or closers[t.value]) then return at end
    at = (t.closes or at) + 1
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
    if t.kind == "name" and t.value == "function" and t.closes == stop - 1 then return { ["$function"] = true }, stop end
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
local function is_word(t, value) return t.kind == "name" and t.value == value end

-- What limited states don't have.
local unlimited = {
  io = "io", os = "os", debug = "debug", package = "package", dofile = "dofile", loadfile = "loadfile",
}

local binary = {}
for operator in ("+ - * / // % ^ & | ~ << >> .. == ~= < > <= >="):gmatch("%S+") do binary[operator] = true end

-- Where a list of expressions that begins at `at` ends, or the first of them.
local function skip_list(tokens, at, is_one)
  local wants_operand = true
  while tokens[at].kind ~= "end" do
    local t = tokens[at]
    if wants_operand then
      if t.closes then
        at, wants_operand = t.closes + 1, false
      else
        local is_unary = t.kind == "symbol" and (t.value == "-" or t.value == "#" or t.value == "~") or is_word(t, "not")
        at, wants_operand = at + 1, is_unary
      end
    elseif t.kind == "symbol" and (binary[t.value] or t.value == "," and not is_one) or is_word(t, "and") or is_word(t, "or") then
      at, wants_operand = at + 1, true
    elseif is_symbol(t, ".") or is_symbol(t, ":") then
      at = at + 2
    elseif t.kind == "symbol" and t.closes then
      at = t.closes + 1
    elseif t.kind == "string" then
      at = at + 1
    else
      return at
    end
  end
  return at
end

-- A name means something of the API ({kind = "root" | "noun" | "handle" | "event", noun}) or nothing that is known ({kind = "other"}).
local other = { kind = "other" }

local Walk = {}
Walk.__index = Walk

-- The innermost block's frame; brackets are frames too.
function Walk:push(kind, names)
  self.frames[#self.frames + 1] = { kind = kind, names = names or {} }
  if kind == "function" then self.functions = self.functions + 1 end
end

function Walk:pop()
  local frame = self.frames[#self.frames]
  self.frames[#self.frames] = nil
  if frame.kind == "function" then self.functions = self.functions - 1 end
  return frame
end

function Walk:top() return self.frames[#self.frames] end

function Walk:lookup(name)
  for index = #self.frames, 1, -1 do
    local meaning = self.frames[index].names[name]
    if meaning then return meaning end
  end
  if self.assigned[name] then return other end
  return self.globals[name]
end

-- A name gets another value: what it means from here isn't followed.
function Walk:assign(name)
  for index = #self.frames, 1, -1 do
    if self.frames[index].names[name] then
      self.frames[index].names[name] = other
      return
    end
  end
  self.assigned[name] = true
end

-- What a chain of names starting at `at` means ({kind = "root" | "noun" | "function" | "method" | "field" | …}), and the token after it.
function Walk:resolve(at)
  local tokens, t = self.tokens, self.tokens[at]
  local before = tokens[at - 1]
  if t.kind ~= "name" or before and (is_symbol(before, ".") or is_symbol(before, ":")) then return nil end
  local meaning = self:lookup(t.value)
  if not meaning or meaning == other then return nil end
  at = at + 1
  local line = t.line
  while (is_symbol(tokens[at], ".") or is_symbol(tokens[at], ":")) and tokens[at + 1].kind == "name" do
    local mark, word = tokens[at].value, tokens[at + 1].value
    if mark == ":" and meaning.kind == "handle" then
      meaning = { kind = "method", noun = meaning.noun, verb = word }
    elseif mark == ":" then break
    elseif meaning.kind == "root" then meaning = { kind = "noun", noun = word }
    elseif meaning.kind == "noun" then meaning = { kind = "function", noun = meaning.noun, verb = word }
    elseif meaning.kind == "function" and meaning.noun == "test" and meaning.verb == "clock" then
      meaning = { kind = "function", noun = "test", verb = "clock." .. word }
    elseif meaning.kind == "handle" then meaning = { kind = "field", noun = meaning.noun, verb = word }
    elseif meaning.kind == "event" and (word == "container" or word == "image" or word == "volume") then
      meaning = { kind = "handle", noun = word }
    else break end
    line, at = tokens[at + 1].line, at + 2
    if meaning.kind == "method" or meaning.kind == "field" then break end
  end
  local found = { line = line }
  for key, value in next, meaning do found[key] = value end
  return found, at
end

-- What a call gives: { handle = noun } or { list = noun }, through methods called on it; and the token behind it.
function Walk:result(meaning, after)
  local tokens = self.tokens
  local values, stop = parse_arguments(tokens, after)
  if not values then return {}, after end
  local given = host_call("check.result", meaning.noun .. "." .. tostring(meaning.verb)) or {}
  while given.handle and is_symbol(tokens[stop], ":") and tokens[stop + 1].kind == "name" do
    local called = given.handle .. "." .. tokens[stop + 1].value
    values, stop = parse_arguments(tokens, stop + 2)
    if not values then return {}, after end
    given = host_call("check.result", called) or {}
  end
  local t = tokens[stop]
  -- Something of it, not itself.
  if is_symbol(t, ".") or is_symbol(t, ":") or is_symbol(t, "[") or is_symbol(t, "(") or t.kind == "symbol" and binary[t.value]
    or is_word(t, "and") or is_word(t, "or") then return {}, stop end
  return given, stop
end

-- What the expression at `at` means, as far as it can be told.
function Walk:value(at)
  local tokens, first, second = self.tokens, self.tokens[at], self.tokens[at + 1]
  if is_word(first, "require") and not self:lookup("require") then
    local is_bracketed = is_symbol(second, "(")
    local module, after = is_bracketed and tokens[at + 2] or second, is_bracketed and at + 4 or at + 2
    if module.kind ~= "string" or module.value ~= "lunette" then return other end
    if not is_symbol(tokens[after], ".") then return { kind = "root" } end
    local goes_on = is_symbol(tokens[after + 2], ".") or is_symbol(tokens[after + 2], "(") or is_symbol(tokens[after + 2], ":")
      or is_symbol(tokens[after + 2], "{") or tokens[after + 2].kind == "string"
    return not goes_on and { kind = "noun", noun = tokens[after + 1].value } or other
  end
  local meaning, after = self:resolve(at)
  if not meaning then return other end
  if meaning.kind == "function" or meaning.kind == "method" then
    local given = self:result(meaning, after)
    return given.handle and { kind = "handle", noun = given.handle } or other
  end
  local t = tokens[after]
  local is_all = not (is_symbol(t, ".") or is_symbol(t, ":") or is_symbol(t, "[") or is_symbol(t, "(") or is_symbol(t, "{")
    or t.kind == "string" or t.kind == "symbol" and binary[t.value])
  if is_all and (meaning.kind == "root" or meaning.kind == "noun" or meaning.kind == "handle") then
    return { kind = meaning.kind, noun = meaning.noun }
  end
  return other
end

-- local a, b <const> = x, y: the names mean that behind the statement.
function Walk:declare(at)
  local tokens, names = self.tokens, {}
  while tokens[at].kind == "name" do
    names[#names + 1] = tokens[at].value
    at = at + 1
    if is_symbol(tokens[at], "<") then at = at + 3 end
    if not is_symbol(tokens[at], ",") then break end
    at = at + 1
  end
  local meanings, stop = {}, at
  if is_symbol(tokens[at], "=") then
    stop = skip_list(tokens, at + 1)
    local i = at + 1
    for _, word in ipairs(names) do
      if i >= stop then break end
      meanings[word] = self:value(i)
      i = skip_list(tokens, i, true) + 1
    end
    at = at + 1
  end
  for _, word in ipairs(names) do meanings[word] = meanings[word] or other end
  self.pending[#self.pending + 1] = { stop = stop, names = self:top().names, meanings = meanings }
  return at
end

-- for a, b in … do: the names of the block that comes.
function Walk:loop(at)
  local tokens, names = self.tokens, {}
  while tokens[at].kind == "name" and not is_word(tokens[at], "in") do
    names[#names + 1] = tokens[at].value
    at = at + (is_symbol(tokens[at + 1], ",") and 2 or 1)
  end
  local meanings = {}
  for _, word in ipairs(names) do meanings[word] = other end
  -- for _, c in ipairs(container.list())
  if is_word(tokens[at], "in") and is_word(tokens[at + 1], "ipairs") and names[2] then
    local inner = is_symbol(tokens[at + 2], "(") and at + 3 or at + 2
    local meaning, after = self:resolve(inner)
    local given = meaning and meaning.kind == "function" and self:result(meaning, after) or {}
    if given.list then meanings[names[2]] = { kind = "handle", noun = given.list } end
  end
  self.loop_names = meanings
  return at
end

-- function a.b:c(x, y): its parameters; the first of a handler is an event.
function Walk:enter(at)
  local tokens, names = self.tokens, {}
  local is_handler = self.handlers[at]
  at = at + 1
  if tokens[at].kind == "name" then
    if not is_symbol(tokens[at + 1], ".") and not is_symbol(tokens[at + 1], ":") then
      if not self.is_local_function then self:assign(tokens[at].value) end
    end
    while not is_symbol(tokens[at], "(") do
      if is_symbol(tokens[at], ":") then names.self = other end
      at = at + 1
    end
  end
  self.is_local_function = nil
  local stop = tokens[at].closes
  for index = at + 1, stop - 1 do
    if tokens[index].kind == "name" then names[tokens[index].value] = is_handler and index == at + 1 and { kind = "event" } or other end
  end
  self:push("function", names)
  return stop + 1
end

function Walk:report(line, e)
  local problems = self.problems
  problems[#problems + 1] = { line = line, message = e.message, hint = e.hint, place = #problems }
end

-- Has one call looked at, and what is called on its result. What is in the arguments comes later, token by token.
function Walk:call(meaning, after)
  local tokens = self.tokens
  local values, stop = parse_arguments(tokens, after)
  local found = host_call("check.call", {
    kind = meaning.kind, noun = meaning.noun, verb = meaning.verb, arguments = values, is_call = values ~= nil,
    is_loading = self.is_resident and self.functions == 0 or nil,
  }) or {}
  for _, e in ipairs(found.problems or {}) do self:report(meaning.line, e) end
  if found.call then
    found.call.line = meaning.line
    self.calls[#self.calls + 1] = found.call
  end
  if not values then return end
  local is_registering = meaning.kind == "noun" and (meaning.noun == "before" or meaning.noun == "on")
  if is_registering and is_symbol(tokens[after], "(") then
    local index = after + 1
    while index < stop do
      if is_word(tokens[index], "function") then self.handlers[index] = true end
      index = skip_expression(tokens, index) + 1
    end
  end
  local given = meaning.verb and host_call("check.result", meaning.noun .. "." .. meaning.verb) or {}
  if given.handle and is_symbol(tokens[stop], ":") and tokens[stop + 1].kind == "name" then
    self:call({ kind = "method", noun = given.handle, verb = tokens[stop + 1].value, line = tokens[stop + 1].line }, stop + 2)
  end
end

-- The names before `=` of an assignment that begins at `at`; nil when it is none.
function Walk:targets(at)
  if self:top().kind == "{" then return nil end
  local tokens, names = self.tokens, {}
  while tokens[at].kind == "name" do
    names[#names + 1] = tokens[at].value
    if is_symbol(tokens[at + 1], "=") then return names end
    if not is_symbol(tokens[at + 1], ",") then return nil end
    at = at + 2
  end
end

-- What a word of Lua's does to the blocks; the next token, or nil when it is none of those.
function Walk:block(word, at)
  local tokens = self.tokens
  if word == "local" then
    if not is_word(tokens[at + 1], "function") then return self:declare(at + 1) end
    self:top().names[tokens[at + 2].value] = other
    self.is_local_function = true
    return at + 1
  elseif word == "for" then return self:loop(at + 1)
  elseif word == "function" then return self:enter(at)
  elseif word == "do" then
    self:push("do", self.loop_names)
    self.loop_names = nil
  elseif word == "if" or word == "repeat" then self:push(word)
  elseif word == "then" then self:push("then")
  elseif word == "else" then
    self:pop()
    self:push("then")
  elseif word == "elseif" then self:pop()
  elseif word == "end" or word == "until" then
    if self:pop().kind == "then" then self:pop() end
  else return nil end
  return at + 1
end

function Walk:name(at)
  local tokens, t = self.tokens, self.tokens[at]
  local before = tokens[at - 1]
  if before and (is_symbol(before, ".") or is_symbol(before, ":")) then return at + 1 end
  local next_at = self:block(t.value, at)
  if next_at then return next_at end
  local targets = self:targets(at)
  if targets then
    for _, word in ipairs(targets) do self:assign(word) end
    return at + 1
  end
  if self.is_resident and unlimited[t.value] and not self:lookup(t.value) and not is_symbol(tokens[at + 1], "=") then
    self:report(t.line, {
      message = "resident code has no " .. t.value, hint = "it has string, table, math, utf8, coroutine, and the API",
    })
  end
  local meaning, after = self:resolve(at)
  if not meaning then return at + 1 end
  if meaning.kind ~= "root" and meaning.kind ~= "handle" and meaning.kind ~= "event" then self:call(meaning, after) end
  return after
end

function Walk:run()
  local tokens, at = self.tokens, 1
  self:push "file"
  while tokens[at].kind ~= "end" do
    local last = self.pending[#self.pending]
    while last and last.stop <= at do
      for word, meaning in next, last.meanings do last.names[word] = meaning end
      self.pending[#self.pending] = nil
      last = self.pending[#self.pending]
    end
    local t = tokens[at]
    if t.kind == "name" then
      at = self:name(at)
    else
      if t.kind == "symbol" and openers[t.value] then self:push(t.value)
      elseif t.kind == "symbol" and closers[t.value] then self:pop() end
      at = at + 1
    end
  end
  table.sort(self.problems, function(a, b)
    if a.line ~= b.line then return a.line < b.line end
    return a.place < b.place
  end)
end

-- Checks a source; returns a list of {line, message, hint}, and one of the calls {line, name, permission}.
-- has_globals: the nouns are globals, as in resident code and in tests.
local function check(source, name, is_resident, has_globals)
  source = source:gsub("^#[^\n]*", "")
  -- In pieces, so that the time of the whole is bounded: Lua's parser takes quadratic time for some long sources.
  local f, problem = core.host.load(source, name, "t")
  if not f then
    local line, message = tostring(problem):match(":(%d+): (.*)$")
    return { { line = tonumber(line) or 1, message = message or problem } }, {}
  end
  local walk = setmetatable({
    tokens = tokenize(source), is_resident = is_resident, frames = {}, functions = 0, assigned = {}, globals = {}, pending = {},
    handlers = {}, problems = {}, calls = {},
  }, Walk)
  if has_globals then
    for noun in next, core.need("library").globals do
      walk.globals[noun] = noun == "lunette" and { kind = "root" } or { kind = "noun", noun = noun }
    end
  end
  walk:run()
  return walk.problems, walk.calls
end

-- {source, name, is_resident, has_globals}: problems, calls
function core.entries.check(what) return check(what.source, what.name, what.is_resident, what.has_globals) end

return { check = check }
