-- The nouns (image, container, volume …): functions and handles made from the registry at their first use.

local core = ...
local host, fail, make_error = core.host, core.fail, core.make_error
local wait, token, wake, receivers = core.wait, core.token, core.wake, core.receivers
local host_call = host.call
local type, setmetatable, rawget, rawset = type, setmetatable, rawget, rawset
local next, ipairs, pcall, error, tostring = next, ipairs, pcall, error, tostring

local nouns = {}
local made = {}             -- noun → its table
local metatables = {}       -- noun → the metatable of its handles
local interned = setmetatable({}, { __mode = "v" })

local function is_handle(value) return type(value) == "table" and rawget(value, "$handle") ~= nil end
nouns.is_handle = is_handle

---- handles -----------------------------------------------------------------------------------

local function metatable(noun)
  local meta = metatables[noun]
  if meta then return meta end
  local methods = nouns.methods(noun)
  meta = {
    __name = "lunette." .. noun,
    __index = function(handle, key)
      local method = methods[key]
      if method then return method end
      local missing = host_call("missing", noun, core.text_of(key), true)
      fail(missing.code, missing.message, { hint = missing.hint, target = rawget(handle, "name") })
    end,
    __newindex = function() fail("invalid_argument", "a handle has no fields of its own") end,
    __tostring = function(handle)
      local id = rawget(handle, "id") or "?"
      return noun .. " " .. (rawget(handle, "name") or "?") .. " (" .. id:gsub("^sha256:", ""):sub(1, 12) .. ")"
    end,
  }
  metatables[noun] = meta
  return meta
end

-- One object, one table: handles are interned, so `==` and table keys go by identity.
local function handle(record)
  local noun, id = record["$handle"], record.id
  local key = noun .. ":" .. tostring(id)
  local known = interned[key]
  if known then
    if record.name then rawset(known, "name", record.name) end
    return known
  end
  interned[key] = setmetatable(record, metatable(noun))
  return record
end
nouns.handle = handle

-- A handle's name is the last that this program has heard of; it has heard what it has done itself.
local function note_name(noun, target, name)
  for _, known in next, interned do
    if rawget(known, "$handle") == noun and (known == target or rawget(known, "id") == target or rawget(known, "name") == target) then
      rawset(known, "name", name)
    end
  end
end

-- A handle of what isn't there yet: calls find it by its name.
function nouns.promised(noun, name) return setmetatable({ ["$handle"] = noun, id = name, name = name }, metatable(noun)) end

local function hydrate(value, kind)
  if kind == "handle" then
    return is_handle(value) and handle(value) or value
  elseif kind == "handles" then
    for index, item in ipairs(value) do value[index] = is_handle(item) and handle(item) or item end
  elseif kind == "tables" then
    for _, items in next, value do
      for name, item in next, items do items[name] = is_handle(item) and handle(item) or item end
    end
  end
  return value
end

---- streams -----------------------------------------------------------------------------------

-- What a call streams: chunks are read with credit, so a slow reader slows the sender.
local Stream = { __name = "lunette.stream" }
Stream.__index = Stream
local credit_at_once = 32

local function open_stream(...)
  core.refuse_effects((...), "stream")
  local stream = setmetatable({ id = token(), operation = (...), queue = {}, first = 1, last = 0, taken = 0 }, Stream)
  receivers[stream.id] = function(ok, kind, value)
    if not ok then
      stream.problem, stream.is_done = kind, true
    elseif kind == "end" then
      stream.result, stream.is_done = value, true
    else
      stream.last = stream.last + 1
      stream.queue[stream.last] = value
    end
    if stream.is_done then receivers[stream.id] = nil end
    local waiter = stream.waiter
    if waiter then
      stream.waiter = nil
      wake(waiter, true)
    end
  end
  local ok, problem = pcall(core.ask_host, "stream", stream.id, ...)
  if not ok then
    receivers[stream.id] = nil
    error(make_error(problem, (...)), 0)
  end
  return stream
end
nouns.open_stream = open_stream

-- The next chunk; nil at the end. Waits.
function Stream:next()
  while self.first > self.last do
    if self.problem then
      local problem = make_error(self.problem, self.operation)
      self.problem = problem
      error(problem, 0)
    end
    if self.is_done then return nil end
    if self.waiter then fail("invalid_state", "two tasks read the same stream") end
    self.waiter = token()
    wait(self.waiter, function() self.waiter = nil end)
  end
  local value = self.queue[self.first]
  self.queue[self.first] = nil
  self.first = self.first + 1
  self.taken = self.taken + 1
  if self.taken >= credit_at_once then
    host_call("credit", self.id, self.taken)
    self.taken = 0
  end
  return value
end

function Stream:close()
  if self.is_closed then return end
  self.is_closed = true
  self.queue, self.first, self.last = {}, 1, 0
  if not self.is_done then
    receivers[self.id] = nil
    self.is_done = true
    host_call("cancel", self.id)
  end
end
Stream.__close = Stream.close
Stream.__gc = not core.is_limited and function(stream) pcall(Stream.close, stream) end or nil

-- For a generic `for`: closes on break and error.
function nouns.iterate(stream, convert)
  local function step()
    local chunk = stream:next()
    if chunk == nil then return nil end
    return convert(chunk)
  end
  return step, nil, nil, stream
end

---- calls -------------------------------------------------------------------------------------

-- Splits a call as written into the wire's arguments and the caller's functions.
local function collect(fn, ...)
  local given = table.pack(...)
  local count = given.n
  local arguments, callbacks = {}, nil
  local positional = fn.positional
  local rest
  for index = 1, count do
    local value = given[index]
    local parameter = positional[index]
    local is_options = type(value) == "table" and not is_handle(value) and index == count
      and (not parameter or not parameter.takes_table)
    if is_options then
      rest = value
    elseif parameter then
      arguments[parameter.name] = value
    elseif value ~= nil then
      local is_too_many = index > #positional + 1 or type(value) == "table"
      local what = is_too_many and "too many arguments" or "expected a table of options, got " .. type(value)
      fail("invalid_argument", fn.name .. ": " .. what, { operation = fn.name })
    end
  end
  if rest then
    if fn.rest then
      arguments[fn.rest] = rest
    else
      for key, value in next, rest do
        if type(key) ~= "string" then
          fail("invalid_argument", fn.name .. ": an option without a name: " .. core.text_of(value), { operation = fn.name })
        end
        if arguments[key] ~= nil then
          fail("invalid_argument", "given twice", { operation = fn.name, path = key })
        end
        arguments[key] = value
      end
    end
  end
  for _, name in ipairs(fn.callbacks) do
    local value = arguments[name]
    if type(value) == "function" then
      callbacks = callbacks or {}
      callbacks[name] = value
      arguments[name] = true
    end
  end
  return arguments, callbacks
end

-- A command's result; with `check` a non-zero exit is an error.
local function checked(operation, arguments, result)
  if arguments.check ~= true or result.code == 0 then return result end
  local program = type(arguments.args) == "table" and arguments.args[1] or arguments.args
  local problem = result.stderr and result.stderr:match("([^\n]+)\n*$")
  fail("exit_status", tostring(program) .. " ended with " .. (result.signal or "exit code " .. result.code)
    .. (problem and ": " .. problem or ""), { operation = operation, details = result })
end
nouns.checked = checked

-- Runs a call whose chunks go to the caller's functions: in this task, in order; a failing function cancels the call.
local function call_with_callbacks(fn, arguments, callbacks, ...)
  local stream <close> = open_stream(fn.name, arguments, ...)
  local only = next(callbacks)
  for chunk in function() return stream:next() end do
    local callback = type(chunk) == "table" and chunk.stream and callbacks[chunk.stream]
    if callback then callback(chunk.data)
    elseif callbacks[only] then callbacks[only](chunk) end
  end
  return stream.result
end
nouns.call_with_callbacks = call_with_callbacks

-- Who asks: the script's line, and what the task runs because of.
local function where()
  local t = core.current()
  local source, line = host.where()
  return source or host.null, line or host.null, t and core.cause_of(t) or host.null
end
nouns.where = where

local function line_of(chunk) return chunk.data or chunk.line or chunk end

local function invoke(fn, ...)
  local arguments, callbacks = collect(fn, ...)
  -- What a resident script wants there to be is brought about when its version runs.
  if core.is_loading and core.desire and fn.verb == "apply" then return core.desire(fn, arguments) end
  local result
  if fn.iterates then
    return nouns.iterate(open_stream(fn.name, arguments, where()), line_of)
  elseif callbacks then
    result = call_with_callbacks(fn, arguments, callbacks, where())
  else
    result = core.call_for(fn.name, "api", fn.name, arguments, where())
  end
  if fn.name == "container.exec" then checked(fn.name, arguments, result) end
  if fn.name == "container.rename" then note_name("container", arguments.container, arguments.name) end
  -- No value, not nil: nothing to print.
  if fn.returns_nothing then return end
  return hydrate(result, fn.result)
end

---- tables ------------------------------------------------------------------------------------

local function load_noun(noun)
  local entry = made[noun]
  if entry then return entry end
  local description = host_call("noun", noun)
  if not description then return nil end
  entry = { functions = {}, methods = {} }
  made[noun] = entry
  for _, fn in ipairs(description) do
    local function call(...) return invoke(fn, ...) end
    if not fn.is_hidden then entry.functions[fn.verb] = call end
    if fn.is_method then entry.methods[fn.verb] = call end
    entry[fn.verb] = call
  end
  if entry.inspect_all and entry.functions.inspect then
    local one, all = entry.functions.inspect, entry.inspect_all
    -- inspect(target) describes one, inspect{filter} all that match, in one call.
    entry.functions.inspect = function(target, ...)
      if target == nil or (type(target) == "table" and not is_handle(target)) then return all(target, ...) end
      return one(target, ...)
    end
  end
  return entry
end

function nouns.methods(noun) return load_noun(noun).methods end

-- A function of a noun, hidden ones too: the plumbing of hooks and events.
function nouns.plumbing(noun, verb) return load_noun(noun)[verb] end

function nouns.table(noun)
  local entry = load_noun(noun)
  if not entry then return nil end
  return setmetatable(entry.functions, {
    __index = function(_, key)
      local missing = host_call("missing", noun, core.text_of(key), false)
      fail(missing.code, missing.message, { hint = missing.hint })
    end,
  })
end

-- A noun of the contract that this version does not have: using it says so.
function nouns.missing(noun)
  return setmetatable({}, {
    __index = function(_, verb)
      local name = noun .. "." .. tostring(verb)
      return function() fail("unsupported", name .. " is not in this version", { operation = name }) end
    end,
  })
end

return nouns
