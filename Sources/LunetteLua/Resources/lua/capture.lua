-- What a script under test and a test file see of the process: its output kept, its clock the test's, its exit the script's own.

local core = ...
local host, host_call = core.host, core.host.call
local type, tostring, select, error, setmetatable = type, tostring, select, error, setmetatable
local concat = table.concat

local capture = {}

-- Time of day and process time by the test's clock.
function capture.time()
  local raw_time, raw_date = os.time, os.date
  local began = host.clock()
  os.time = function(parts)
    if parts == nil then return host.now() // 1 | 0 end
    return raw_time(parts)
  end
  os.date = function(format, time) return raw_date(format, time or host.now() // 1 | 0) end
  os.clock = function() return host.clock() - began end
end

local function write(text, is_error) host_call("program.write", text, is_error) end

-- A file that only takes what is written.
local function sink(name, is_error)
  local file = setmetatable({}, { __name = "FILE*", __tostring = function() return "file (" .. name .. ")" end })
  local methods = {}
  getmetatable(file).__index = methods
  function methods.write(_, ...)
    for index = 1, select("#", ...) do
      local value = select(index, ...)
      local kind = type(value)
      if kind ~= "string" and kind ~= "number" then
        error("bad argument #" .. index .. " to 'write' (string expected, got " .. kind .. ")", 2)
      end
      write(tostring(value), is_error)
    end
    return file
  end
  function methods.flush() return file end
  function methods.setvbuf() return true end
  function methods.close() return true end
  function methods.seek() return nil, "Illegal seek", 29 end
  return file
end

function capture.output()
  local out, err = sink("stdout", false), sink("stderr", true)
  local raw_output = io.output
  local redirected
  io.stdout, io.stderr = out, err
  io.output = function(file)
    if file ~= nil then
      redirected = file ~= out and raw_output(file) or nil
    end
    return redirected or out
  end
  io.write = function(...) return (redirected or out):write(...) end
  print = function(...)
    local parts = {}
    for index = 1, select("#", ...) do parts[index] = tostring((select(index, ...))) end
    write(concat(parts, "\t") .. "\n", false)
  end
  -- Ends the script, not the process that tests it: what it waits in raises, and each later wait.
  os.exit = function(code)
    core.exit_code = (code == nil or code == true) and 0 or code == false and 1 or math.tointeger(code) or 1
    core.cancel_all("cancelled", "the script has called os.exit")
    local ended = { code = "cancelled", message = "the script has called os.exit" }
    error(setmetatable(ended, core.Error), 0)
  end
end

-- Of the process that runs the tests: an end of it would leave the tests that come unrun, and what has failed untold.
function capture.no_exit(on_exit)
  os.exit = function(code)
    local shown = code == nil and "" or type(code) == "boolean" and tostring(code) or tostring(math.tointeger(code) or code)
    on_exit("os.exit(" .. shown .. ") was called, which would end the tests")
  end
end

return capture
