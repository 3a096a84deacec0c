-- Sleeping tasks: COUNT of them, each for its own time. Prints what they cost and whether they woke
-- in exact order.
local lunette = require "lunette"
local task = lunette.task
local count = tonumber(arg[1])

local function resident()
  for line in io.lines "/proc/self/status" do
    local kib = line:match "^VmRSS:%s+(%d+)"
    if kib then return tonumber(kib) * 1024 end
  end
end

collectgarbage()
local before = resident()
local began = lunette.clock()
local woken, last, out_of_order = 0, -1, 0
local tasks = {}
local random = 12345
for number = 1, count do
  random = (random * 1103515245 + 12345) % 2147483648
  local duration = 20 + (random % count) * 1e-5
  tasks[number] = task.spawn(function()
    local due = lunette.clock() + duration
    task.sleep(duration)
    -- This process may lose its processor between the two lines above.
    if due < last - 0.005 then out_of_order = out_of_order + 1 end
    woken, last = woken + 1, due
  end)
end
local spawned = lunette.clock() - began
-- All of them have begun to sleep once this has.
task.sleep(0)
local asleep = lunette.clock() - began
local held = resident() - before
collectgarbage()
local kept = resident() - before
for _, t in ipairs(tasks) do t:await() end
local ended = lunette.clock() - began
print(lunette.json.encode {
  count = count, woken = woken, out_of_order = out_of_order, spawned = spawned, asleep = asleep,
  bytes = held, kept = kept, ended = ended,
})
