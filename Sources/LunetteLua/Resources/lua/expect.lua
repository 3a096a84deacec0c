-- test.expect: what a value should be, and how it differs where it isn't.

local core = ...
local host, fail = core.host, core.fail
local host_call = host.call
local nouns, inspect = core.need "nouns", core.need "inspect"
local type, tostring, pairs, next, ipairs, pcall, error = type, tostring, pairs, next, ipairs, pcall, error
local getmetatable, setmetatable, rawequal, rawget, math = getmetatable, setmetatable, rawequal, rawget, math
local concat, sort = table.concat, table.sort

local expect = {}

---- equality ----------------------------------------------------------------------------------

-- Tables that stand for one thing: compared by identity, shown in one line.
local function is_opaque(value)
  if nouns.is_handle(value) then return true end
  local meta = getmetatable(value)
  return type(meta) == "table" and rawget(meta, "__tostring") ~= nil and not core.is_error(value)
end

local function equal(a, b, seen)
  if rawequal(a, b) or (type(a) ~= "table" and a == b) then return true end
  if type(a) ~= "table" or type(b) ~= "table" then return false end
  if is_opaque(a) or is_opaque(b) then return a == b end
  if seen[a] == b then return true end
  seen[a] = b
  local count = 0
  for key, value in pairs(a) do
    if not equal(value, b[key], seen) then return false end
    count = count + 1
  end
  for _ in pairs(b) do count = count - 1 end
  return count == 0
end

-- Whether everything in `part` is in `whole`; texts of a part are compared as they are.
local function holds(whole, part, seen)
  if type(part) ~= "table" or is_opaque(part) then return equal(whole, part, {}) end
  if type(whole) ~= "table" then return false end
  if seen[part] then return true end
  seen[part] = true
  for key, value in pairs(part) do
    if not holds(whole[key], value, seen) then return false end
  end
  return true
end

---- differences -------------------------------------------------------------------------------

local by_key = inspect.by_key

-- A value as lines, a field each.
local function add_lines(lines, value, margin, before, seen)
  if type(value) ~= "table" or is_opaque(value) or seen[value] or #lines > 2000 then
    local text = seen[value] and "<the same table>" or inspect.value(value, { width = 1000 })
    if type(value) == "string" and #value > 60 and value:find("\n.") then
      -- A long text differs in some of its lines.
      lines[#lines + 1] = margin .. before .. "[["
      for line in (value .. "\n"):gmatch("(.-)\n") do lines[#lines + 1] = margin .. "  " .. line end
      lines[#lines + 1] = margin .. "]]"
      return
    end
    lines[#lines + 1] = margin .. before .. text
    return
  end
  seen[value] = true
  local keys, length = {}, #value
  for key in pairs(value) do
    if not (math.type(key) == "integer" and key >= 1 and key <= length) then keys[#keys + 1] = key end
  end
  if #keys == 0 and length == 0 then
    lines[#lines + 1] = margin .. before .. "{}"
  else
    sort(keys, by_key)
    lines[#lines + 1] = margin .. before .. "{"
    for index = 1, length do add_lines(lines, value[index], margin .. "  ", "", seen) end
    for _, key in ipairs(keys) do
      local name = type(key) == "string" and key:match("^[%a_][%w_]*$") and key or "[" .. inspect.value(key) .. "]"
      add_lines(lines, value[key], margin .. "  ", name .. " = ", seen)
    end
    lines[#lines + 1] = margin .. "}"
  end
  seen[value] = nil
end

local function lines_of(value)
  local lines = {}
  add_lines(lines, value, "", "", {})
  return lines
end

-- The longest common lines of two lists, as a list of {mark, line}.
local function compare(a, b)
  local first, last_a, last_b = 1, #a, #b
  while first <= last_a and first <= last_b and a[first] == b[first] do first = first + 1 end
  while last_a >= first and last_b >= first and a[last_a] == b[last_b] do last_a, last_b = last_a - 1, last_b - 1 end
  local result = {}
  for index = 1, first - 1 do result[#result + 1] = { " ", a[index] } end
  if (last_a - first + 1) * (last_b - first + 1) > 1000000 then
    for index = first, last_a do result[#result + 1] = { "-", a[index] } end
    for index = first, last_b do result[#result + 1] = { "+", b[index] } end
  else
    local lengths = {}
    for i = last_a + 1, first, -1 do
      lengths[i] = {}
      for j = last_b + 1, first, -1 do
        if i > last_a or j > last_b then lengths[i][j] = 0
        elseif a[i] == b[j] then lengths[i][j] = lengths[i + 1][j + 1] + 1
        else lengths[i][j] = math.max(lengths[i + 1][j], lengths[i][j + 1]) end
      end
    end
    local i, j = first, first
    while i <= last_a or j <= last_b do
      if i <= last_a and j <= last_b and a[i] == b[j] then
        result[#result + 1] = { " ", a[i] }
        i, j = i + 1, j + 1
      elseif i <= last_a and (j > last_b or lengths[i + 1][j] >= lengths[i][j + 1]) then
        result[#result + 1] = { "-", a[i] }
        i = i + 1
      else
        result[#result + 1] = { "+", b[j] }
        j = j + 1
      end
    end
  end
  for index = last_a + 1, #a do result[#result + 1] = { " ", a[index] } end
  return result
end

local context = 2

-- `-` what was expected, `+` what came, with the lines around it.
function expect.diff(expected, actual)
  local compared = compare(lines_of(expected), lines_of(actual))
  local shown = {}
  for index, entry in ipairs(compared) do
    if entry[1] ~= " " then
      for near = math.max(1, index - context), math.min(#compared, index + context) do shown[near] = true end
    end
  end
  -- A gap of one line takes no more room than saying that there is one.
  for index = 1, #compared do
    if not shown[index] and (index == 1 or shown[index - 1]) and (index == #compared or shown[index + 1]) then shown[index] = true end
  end
  local lines, is_gap = {}, false
  for index, entry in ipairs(compared) do
    if shown[index] then
      is_gap = false
      lines[#lines + 1] = entry[1] .. " " .. entry[2]
    elseif not is_gap then
      is_gap = true
      lines[#lines + 1] = "  …"
    end
    if #lines >= 200 then
      lines[#lines + 1] = "  …"
      break
    end
  end
  return lines
end

local function is_long(value) return type(value) == "string" and #value > 100 end

-- A text that a message would cut, as lines of what came.
local function lines_of_text(text)
  local lines = {}
  for line in (text:gsub("\n$", "") .. "\n"):gmatch("(.-)\n") do
    lines[#lines + 1] = "+ " .. line
    if #lines >= 100 then
      lines[#lines + 1] = "  …"
      break
    end
  end
  return lines
end

---- matchers ----------------------------------------------------------------------------------

local function show(value)
  if is_long(value) then return "the text" end
  local text = inspect.value(value, { width = 1000, depth = 3 })
  return #text > 120 and text:sub(1, 117):gsub("[\128-\191]*$", "") .. "…" or text
end

local function compared(verb, test)
  return function(actual, other)
    local is_number = type(actual) == "number" and type(other) == "number"
    return is_number and test(actual, other), show(actual) .. " to be " .. verb .. " " .. show(other)
  end
end

local function is_one_table(a, b) return type(a) == "table" and type(b) == "table" and not is_opaque(a) end

local function is_in(actual, item)
  if type(actual) == "string" then return type(item) == "string" and actual:find(item, 1, true) ~= nil end
  if type(actual) ~= "table" then return false end
  for _, value in pairs(actual) do
    if equal(value, item, {}) then return true end
  end
  return type(item) == "table" and not is_opaque(item) and next(item) ~= nil and #item == 0 and holds(actual, item, {})
end

-- Each returns whether it holds, what was expected in words, and for tables the two to compare.
local matchers = {
  to_equal = function(actual, other)
    local is_table = is_one_table(actual, other)
    return equal(actual, other, {}), is_table and "the tables to be equal" or show(actual) .. " to equal " .. show(other),
      (is_table or type(actual) == "string" and type(other) == "string" and (actual .. other):find("\n")) and { other, actual }
  end,
  to_be = function(actual, other)
    return actual == other, show(actual) .. " to be " .. show(other)
  end,
  to_match = function(actual, pattern)
    if type(pattern) == "table" then
      local part
      if type(actual) == "table" then
        part = {}
        for key in pairs(pattern) do part[key] = actual[key] end
      end
      return holds(actual, pattern, {}), type(actual) == "table" and "the table to have these fields"
        or show(actual) .. " to have these fields", part and { pattern, part }
    end
    if type(pattern) ~= "string" then
      fail("invalid_argument", "to_match: expected a pattern or a table of fields, got " .. type(pattern))
    end
    return type(actual) == "string" and actual:find(pattern) ~= nil, show(actual) .. " to match " .. show(pattern)
  end,
  to_contain = function(actual, item) return is_in(actual, item), show(actual) .. " to contain " .. show(item) end,
  to_have_length = function(actual, length)
    local has = (type(actual) == "string" or type(actual) == "table") and #actual
    return has == length, show(actual) .. " to have length " .. show(length) .. (has and ", not " .. has or "")
  end,
  to_be_nil = function(actual) return actual == nil, show(actual) .. " to be nil" end,
  to_be_true = function(actual) return actual == true, show(actual) .. " to be true" end,
  to_be_false = function(actual) return actual == false, show(actual) .. " to be false" end,
  to_be_a = function(actual, kind)
    local is = type(actual) == kind or math.type(actual) == kind
      or nouns.is_handle(actual) and actual["$handle"] == kind
    return is, show(actual) .. " to be a " .. tostring(kind)
  end,
  to_be_above = compared("above", function(a, b) return a > b end),
  to_be_below = compared("below", function(a, b) return a < b end),
  to_be_at_least = compared("at least", function(a, b) return a >= b end),
  to_be_at_most = compared("at most", function(a, b) return a <= b end),
  to_be_near = function(actual, other, tolerance)
    tolerance = tolerance or 1e-6
    local is_number = type(actual) == "number" and type(other) == "number"
    return is_number and math.abs(actual - other) <= tolerance,
      show(actual) .. " to be within " .. show(tolerance) .. " of " .. show(other)
  end,
  to_raise = function(actual, wanted)
    if type(actual) ~= "function" then fail("invalid_argument", "to_raise: expected a function, got " .. type(actual)) end
    local ok, problem = pcall(actual)
    local t = core.current()
    -- A cancelled task's wait is the test's end, not what was asked about.
    if not ok and t and t.is_cancelled then error(problem, 0) end
    local what = wanted == nil and "an error" or type(wanted) == "string" and "the error " .. show(wanted)
      or "an error with these fields"
    if ok then return false, what .. ", and nothing was raised" end
    local text = core.text_of(problem)
    local is_it = wanted == nil
    if type(wanted) == "table" then is_it = type(problem) == "table" and holds(problem, wanted, {})
    elseif type(wanted) == "string" then
      is_it = type(problem) == "table" and rawget(problem, "code") == wanted or text:find(wanted) ~= nil
        or text:find(wanted, 1, true) ~= nil
    end
    local code = type(problem) == "table" and rawget(problem, "code")
    local got = (code and "\"" .. code .. "\": " or "") .. text
    return is_it, what .. ", got " .. got, nil, (wanted == nil and "no error" or "not " .. what) .. ", got " .. got
  end,
}

local function refuse(name)
  local words = {}
  for word in next, matchers do words[#words + 1], words[#words + 2] = word, "not_" .. word end
  local near = host_call("nearest", tostring(name), words)
  fail("invalid_argument", "expect has no \"" .. tostring(name) .. "\"", {
    hint = near and "did you mean \"" .. near .. "\"?" or "it has " .. concat(words, ", "),
  })
end

-- What one value is held to. `on_failure` is given {message, diff, place}.
function expect.value(on_failure)
  local Expectation = {}
  Expectation.__index = function(_, name)
    local is_negated = type(name) == "string" and name:sub(1, 4) == "not_"
    local matcher = type(name) == "string" and matchers[is_negated and name:sub(5) or name]
    if not matcher then refuse(name) end
    return function(expectation, ...)
      if getmetatable(expectation) ~= Expectation then
        fail("invalid_argument", "expect(value):" .. name .. "(…) is called with a colon")
      end
      local holds_so, message, pair, negated = matcher(rawget(expectation, 1), ...)
      if (holds_so and true or false) ~= is_negated then return expectation end
      if is_negated then
        message = negated or message:gsub(" to ", " not to ", 1)
      end
      local source, line = host.where()
      on_failure {
        message = "expected " .. message,
        diff = not is_negated and pair and expect.diff(pair[1], pair[2])
          or is_long(rawget(expectation, 1)) and lines_of_text(rawget(expectation, 1)) or nil,
        place = source and source .. ":" .. line or nil,
      }
      return expectation
    end
  end
  return function(value) return setmetatable({ value }, Expectation) end
end

return expect
