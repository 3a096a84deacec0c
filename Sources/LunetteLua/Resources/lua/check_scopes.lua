-- What names mean, block by block, for `lunette check`.

local core = ...
local tokens_of, literals = core.need "check_tokens", core.need "check_literals"
local is_symbol, is_word = tokens_of.is_symbol, tokens_of.is_word
local skip_list, parse_arguments, binary = literals.skip_list, literals.parse_arguments, literals.binary
local host_call = core.host.call
local tostring, ipairs, next = tostring, ipairs, next

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
    elseif mark == ":" and meaning.kind == "event" then
      meaning = { kind = "event method", event = meaning, verb = word }
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
    if meaning.kind == "method" or meaning.kind == "field" or meaning.kind == "event method" then break end
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
    if tokens[index].kind == "name" then names[tokens[index].value] = is_handler and index == at + 1 and is_handler or other end
  end
  self:push("function", names)
  return stop + 1
end

return { Walk = Walk, other = other }
