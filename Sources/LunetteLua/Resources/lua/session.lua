-- What a prompt remembers from chunk to chunk: its top-level locals, the last value, the lines that errors point at.
--
-- A chunk is compiled with the locals in front of it and hands their values back at its end; no hook is involved, which a limited state
-- needs for its limits, and which would slow every call down.

local core = ...
local load, setmetatable, rawset, tostring, tonumber = load, setmetatable, rawset, tostring, tonumber
local ipairs, select, next, type = ipairs, select, next, type
local concat, pack, unpack, remove, sort = table.concat, table.pack, table.unpack, table.remove, table.sort
local rep = string.rep

local session = {}
local Session = {}
Session.__index = Session

local most_locals = 150          -- Lua allows 200 in a function
local most_lines = 5000          -- that are kept for errors to point at

-- name: what errors call its chunks. globals: where its global names live.
function session.new(name, globals)
  return setmetatable({ name = name, globals = globals, names = {}, values = {}, lines = {}, line_count = 0 }, Session)
end

---- which locals a chunk has -------------------------------------------------------------------

local opening = { ["do"] = true, ["if"] = true, ["repeat"] = true, ["function"] = true }
local closing = { ["end"] = true, ["until"] = true }

-- Where what begins at `at` ends, when it is a text or a comment.
local function skipped(source, at)
  local level = source:match("^%-%-%[(=*)%[", at) or source:match("^%[(=*)%[", at)
  if level then return select(2, source:find("]" .. level .. "]", at, true)) or #source end
  if source:find("^%-%-", at) then return source:find("\n", at, true) or #source end
  local quote = source:match("^[\"']", at)
  if not quote then return nil end
  local index = at + 1
  while index <= #source do
    local c = source:sub(index, index)
    if c == "\\" then index = index + 1 elseif c == quote or c == "\n" then return index end
    index = index + 1
  end
  return #source
end
session.skipped = skipped

-- The locals that a chunk declares outside every block, those among them that close, and where its last `return` stands.
function session.scan(source)
  local names, closed, last_return = {}, {}, nil
  local depth, at = 0, 1
  local expected           -- "name" behind `local` and commas, "mark" behind a name
  while true do
    at = source:find("%S", at)
    if not at then return names, closed, last_return end
    local last = skipped(source, at)
    local word = not last and source:match("^[%a_][%w_]*", at)
    if last then
      if not source:find("^%-%-", at) then expected = nil end
    elseif word then
      last = at + #word - 1
      if expected == "name" then
        if word == "function" then
          depth = depth + 1
          expected = "function"
        else
          names[#names + 1] = word
          expected = "mark"
        end
      elseif expected == "function" then
        names[#names + 1] = word
        expected = nil
      elseif opening[word] then
        depth, expected = depth + 1, nil
      elseif closing[word] then
        depth, expected = depth - 1, nil
      elseif depth == 0 and word == "local" then
        expected = "name"
      else
        if depth == 0 and word == "return" then last_return = at end
        expected = nil
      end
    else
      local mark = expected == "mark" and source:match("^<%s*([%a_]+)%s*>", at)
      if mark then
        last = source:find(">", at, true)
        if mark == "close" then closed[names[#names]] = true end
      elseif expected == "mark" and source:sub(at, at) == "," then
        last, expected = at, "name"
      else
        last, expected = select(2, source:find("^%.?%d[%w_.]*", at)) or at, nil
      end
    end
    at = last + 1
  end
end

---- compiling ----------------------------------------------------------------------------------

function Session:keep(name, value)
  local known = false
  for _, other in ipairs(self.names) do known = known or other == name end
  if not known then
    self.names[#self.names + 1] = name
    if #self.names > most_locals then self.values[remove(self.names, 1)] = nil end
  end
  self.values[name] = value
end

-- The names that a chunk hands back: the session's, and its own.
function Session:known_after(own, closed)
  local names, seen = {}, {}
  for _, list in ipairs { self.names, own } do
    for _, name in ipairs(list) do
      if not seen[name] and not closed[name] then names[#names + 1] = name end
      seen[name] = true
    end
  end
  return names
end

-- What stands in front of a chunk: line numbers go on over the session, so that each names one line that was typed.
function Session:head()
  local locals = #self.names > 0 and ", " .. concat(self.names, ", ") or ""
  return rep("\n", self.line_count) .. "local keep__" .. locals .. " = ...; "
end

-- A chunk as a function without arguments that returns its values; nil and what is wrong.
function Session:compile(source)
  local head, name = self:head(), "=" .. self.name
  local handed = self.names
  local function getter(names) return "keep__(function() return " .. concat(names, ", ") .. " end" end
  -- Not as a tail call: an error would have lost the line it comes from.
  local f
  if load(head .. "return " .. source, name, "t", self.globals) then
    -- On the same line, which is the one that an error names; a comment wants the next.
    for _, tail in ipairs { ")", "\n)" } do
      f = f or load(head .. "return " .. getter(handed) .. ", " .. source .. tail, name, "t", self.globals)
    end
    f = f or load(head .. "return " .. source, name, "t", self.globals)
  end
  if not f then
    local problem
    f, problem = load(head .. source, name, "t", self.globals)
    if not f then return nil, problem end
    local own, closed, last_return = session.scan(source)
    local after = self:known_after(own, closed)
    local longer
    if last_return then
      local values = source:sub(last_return + #"return"):gsub("[%s;]+$", "")
      local before = source:sub(1, last_return - 1)
      longer = before .. "return " .. getter(after) .. ", " .. values .. ")"
      if not load(head .. longer, name, "t", self.globals) then
        longer = before .. getter(after) .. ") " .. source:sub(last_return)
      end
    else
      longer = source .. "\n" .. getter(after) .. ")"
    end
    -- Where it can't stand behind the chunk (a label that is jumped to), what the chunk declares is not kept.
    local g = #after > 0 and load(head .. longer, name, "t", self.globals)
    if g then f, handed = g, after end
  end
  local function keep(get, ...)
    local values = pack(get())
    for index, local_name in ipairs(handed) do self:keep(local_name, values[index]) end
    return ...
  end
  local given = {}
  local names = { unpack(self.names) }
  return function()
    for index, local_name in ipairs(names) do given[index] = self.values[local_name] end
    local results = pack(f(keep, unpack(given, 1, #names)))
    if results.n > 0 then rawset(self.globals, "_", results[1]) end
    return unpack(results, 1, results.n)
  end
end

-- Takes note of a chunk's lines, once it is compiled.
function Session:note_lines(source)
  for line in (source .. "\n"):gmatch("(.-)\n") do
    self.line_count = self.line_count + 1
    self.lines[self.line_count] = line
    self.lines[self.line_count - most_lines] = nil
  end
end

---- errors -------------------------------------------------------------------------------------

-- Where a word stands in a line as a whole.
local function place_of(line, word)
  local pattern = "%f[%w_]" .. word:gsub("%W", "%%%0") .. "%f[^%w_]"
  if not word:find("^[%w_]+$") then return line:find(word, 1, true) end
  return line:find(pattern)
end

-- The line that a failure comes from with a mark below the word it is about; nil when it isn't one of this session.
function Session:point(message, path)
  local number = message:sub(1, #self.name + 1) == self.name .. ":" and message:match("^(%d+):", #self.name + 2)
  local line = number and self.lines[tonumber(number)]
  if not line then return nil end
  local word = message:match("%(%a+ '([^']+)'%)") or message:match("near '([^']+)'")
    or type(path) == "string" and path:match("([%w_]+)%]?$")
  local from, to
  if word then from, to = place_of(line, word) end
  local head = "  " .. number .. " | "
  local text = head .. line:gsub("%c", " ")
  if not from then return text end
  local before = utf8.len(line:sub(1, from - 1)) or from - 1
  local length = utf8.len(line:sub(from, to)) or to - from + 1
  return text .. "\n" .. rep(" ", #head - 2) .. "| " .. rep(" ", before) .. rep("^", length)
end

-- A failure's record with the line it points at.
function Session:pointed(record)
  record.point = self:point(tostring(record.message), record.path) or record.point
  return record
end

---- tasks --------------------------------------------------------------------------------------

-- Tasks that go on, one line each: where they were made and what they do.
function session.tasks(tasks, is_meant)
  local lines = {}
  for t in next, tasks do
    local source, line
    if type(t.f) == "function" then source, line = core.host.place(t.f) end
    -- The stdlib's own are the innards of what the user made.
    if (t.label or source and not source:match("^%[lunette")) and (not is_meant or is_meant(t)) then
      lines[#lines + 1] = (t.label or "task") .. " (" .. (t.token and "waiting" or t.state) .. ")"
        .. (source and line > 0 and not source:match("^%[lunette") and " at " .. source .. ":" .. line or "")
    end
  end
  sort(lines)
  return lines
end

return session
