-- Error objects: one shape for what the engine refuses, what the host refuses and what a script raises.

local core = ...
local host = core.host
local type, tostring, error, next, pcall = type, tostring, error, next, pcall
local setmetatable, getmetatable, rawget = setmetatable, getmetatable, rawget

local Error = { __name = "lunette.error" }

local function one_line(e)
  local text = e.message or e.code or "failed"
  if e.path then text = e.path .. ": " .. text end
  if e.path and e.operation then text = e.operation .. ": " .. text end
  -- What Lua itself raised begins with its place.
  if e.where and text:sub(1, #e.where + 2) ~= e.where .. ": " then text = e.where .. ": " .. text end
  return text
end

Error.__index = {
  is = function(e, code) return rawget(e, "code") == code end,
}
Error.__tostring = one_line
core.Error = Error

local function is_error(value) return type(value) == "table" and getmetatable(value) == Error end
core.is_error = is_error

local deepest_cause = 16

local function adopt(record, depth)
  local cause = record.cause
  if type(cause) == "table" and depth < deepest_cause then adopt(cause, depth + 1) end
  return setmetatable(record, Error)
end

-- What anything raised says, whatever its __tostring does: a reply must not be lost to it.
function core.text_of(what)
  local ok, text = pcall(tostring, what)
  return ok and text or "(an error object whose __tostring fails)"
end

-- Makes an error object of a record, a text of the bridge's ("host:…") or anything raised.
local function make_error(what, operation)
  if is_error(what) then return what end
  local record
  if type(what) == "table" and rawget(what, "code") then
    record = what
  elseif type(what) == "string" and what:sub(1, 5) == "host:" then
    local path, message = what:sub(6):match("^(%S-): (.*)$")
    record = { code = "invalid_argument", message = message or what:sub(6), path = path }
  elseif what == "not enough memory" and core.is_limited then
    -- Lua's own, which has neither.
    local limit, place = host.memory_limit()
    record = { code = "resource_exhausted", message = "not enough memory (" .. limit // 1048576 .. " MiB)", where = place }
  else
    record = { code = "script_failed", message = core.text_of(what) }
    -- Where it was raised, not where it was caught.
    record.where = type(what) == "string" and what:match "^([^\n:]+:%d+): " or nil
  end
  if operation and not record.operation then record.operation = operation end
  adopt(record, 0)
  if not record.where then
    local source, line = host.where()
    if source then record.where = source .. ":" .. line end
  end
  if not record.traceback then record.traceback = host.traceback(nil, nil, 2) end
  return record
end
core.make_error = make_error

function core.fail(code, message, fields)
  local record = { code = code, message = message }
  for key, value in next, fields or {} do record[key] = value end
  error(make_error(record), 0)
end

-- What the bridge raises when code is interrupted, and when it passes a limit of which it can't say more.
host.set_error(false, setmetatable({ code = "cancelled", message = "interrupted" }, Error))
host.set_error(true, setmetatable({ code = "resource_exhausted", message = "the code ran longer than it may" }, Error))
