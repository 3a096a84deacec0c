-- Which lines of a file can run: read from what the compiler made of it, functions that nothing calls included.
--
-- The format is string.dump's of Lua 5.4 (ldump.c): counts are numbers of seven bits a byte, the last with its eighth set.

local core = ...
local unpack, byte, dump = string.unpack, string.byte, string.dump

local abs_line = -128      -- ABSLINEINFO: the line stands in a list of its own
local head = 4 + 1 + 1 + 6 + 3 + 8 + 8 + 1

local function reader(code)
  local at = head + 1
  local self = {}
  function self.skip(count) at = at + count end
  function self.byte()
    at = at + 1
    return byte(code, at - 1)
  end
  function self.count()
    local value = 0
    repeat
      local next_byte = self.byte()
      value = value << 7 | next_byte & 0x7f
    until next_byte & 0x80 ~= 0
    return value
  end
  function self.signed()
    at = at + 1
    return (unpack("b", code, at - 1))
  end
  function self.text()
    local size = self.count()
    if size > 0 then self.skip(size - 1) end
  end
  return self
end

-- Floats and integers have eight bytes, texts their length; nil and booleans nothing.
local function skip_constant(r)
  local kind = r.byte()
  if kind == 0x13 or kind == 0x03 then r.skip(8)
  elseif kind == 0x04 or kind == 0x14 then r.text() end
end

local function read_function(r, lines)
  r.text()
  local line = r.count()
  r.count()
  r.skip(1)
  local is_vararg = r.byte() ~= 0
  r.skip(1)
  r.skip(r.count() * 4)
  for _ = 1, r.count() do skip_constant(r) end
  r.skip(r.count() * 3)
  for _ = 1, r.count() do read_function(r, lines) end
  local deltas = {}
  for index = 1, r.count() do deltas[index] = r.signed() end
  local absolute = {}
  for _ = 1, r.count() do
    local pc = r.count()
    absolute[pc + 1] = r.count()
  end
  for index = 1, #deltas do
    line = deltas[index] == abs_line and absolute[index] or line + deltas[index]
    -- The first instruction of a function with "..." is nobody's line.
    if not (is_vararg and index == 1) then lines[line] = true end
  end
  for _ = 1, r.count() do
    r.text()
    r.count()
    r.count()
  end
  for _ = 1, r.count() do r.text() end
end

-- {source, name}: the numbers of its lines, in order; nothing for what doesn't compile.
function core.entries.lines_of(what)
  local f = load(what.source:gsub("^#[^\n]*", ""), what.name, "t")
  if not f then return {} end
  local found, lines = {}, {}
  read_function(reader(dump(f)), found)
  for line in next, found do lines[#lines + 1] = line end
  table.sort(lines)
  return lines
end

return {}
