#!/usr/bin/env lunette
-- Runs the test scripts (*.sh) of a folder, N at a time, each in a new container of IMAGE without
-- a network: they see the folder, read-only, at /tests, and nothing of each other. Writes TAP.
-- usage: parallel-tests.lua IMAGE FOLDER [--jobs N] [--timeout 5m]      See docs/scripts.md.
local lunette = require "lunette"
local container, fs, task = lunette.container, lunette.fs, lunette.task

local words, options =
  require("arguments").read(arg, "parallel-tests.lua", { jobs = "4", timeout = "5m" })
local image, folder, jobs = words[1], words[2], math.tointeger(tonumber(options.jobs))
if not folder or not jobs or jobs < 1 then
  error("usage: parallel-tests.lua IMAGE FOLDER [--jobs N] [--timeout DURATION]", 0)
end

local queue = {}
for _, name in ipairs(fs.list(folder)) do
  if name:match "%.sh$" then queue[#queue + 1] = name end
end
if #queue == 0 then error("no test (*.sh) in " .. folder, 0) end

-- Passed or not, what it wrote, and how it ended where that isn't code 0.
local function run(name)
  local c = container.run {
    image = image, entrypoint = {}, args = { "sh", "/tests/" .. name }, workdir = "/tmp",
    mounts = { { type = "bind", source = folder, target = "/tests", readonly = true } },
    network = "none", lifetime = "script", labels = { test = name },
    resources = { memory = "512MiB", pids = 256 }, stop = { grace_period = 0 },
  }
  local ended, exit = lunette.try(c.wait, c, { timeout = options.timeout })
  local why
  if not ended and exit.code ~= "timeout" then
    error(exit, 0) -- Ctrl-C: the container goes with the script
  elseif not ended then
    why = "not done after " .. options.timeout
  elseif exit.oom_killed then
    why = "out of memory"
  elseif exit.code ~= 0 then
    why = exit.signal or "exit code " .. exit.code
  end
  local output = c:logs()
  c:remove { force = true }
  return why == nil, output, why
end

print("1.." .. #queue)
local began, next_test, done, failed = lunette.clock(), 1, 0, 0

local function worker()
  while next_test <= #queue do
    local name = queue[next_test]
    next_test = next_test + 1 -- before anything waits: no other worker takes it
    local start = lunette.clock()
    local ran, passed, output, why = lunette.try(run, name)
    if not ran and passed.code == "cancelled" then error(passed, 0) end
    if not ran then passed, output, why = false, "", passed.message end
    done = done + 1
    if not passed then failed = failed + 1 end
    local lines = ("%s %d - %s # %.1f s\n"):format(
      passed and "ok" or "not ok", done, name, lunette.clock() - start)
    local notes = passed and "" or why .. "\n" .. output
    io.write(lines, (notes:gsub("[^\n]+", "# %0"):gsub("([^\n])$", "%1\n")))
  end
end

local workers = {}
for i = 1, math.min(jobs, #queue) do workers[i] = worker end
task.all(workers)
print(("# %d of %d passed in %.1f s"):format(#queue - failed, #queue, lunette.clock() - began))
os.exit(failed == 0)
