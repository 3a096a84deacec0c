-- Expressions among the tokens, for `lunette check`: their values where they are literals, and where they end.

local core = ...
local tokens_of = core.need "check_tokens"
local closers, is_symbol, is_word = tokens_of.closers, tokens_of.is_symbol, tokens_of.is_word
local next, select = next, select

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

---- lists of expressions ----------------------------------------------------------------------

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

return { skip_expression = skip_expression, skip_list = skip_list, parse_arguments = parse_arguments, binary = binary }
