-- Starts COUNT containers over WORKERS tasks, each removed when it has ended, prints the seconds
-- from the first start to the last removal.
local lunette = require "lunette"
local reference, count, workers = arg[1], tonumber(arg[2]), tonumber(arg[3])

local began = lunette.clock()
local tasks = {}
for worker = 1, workers do
  tasks[worker] = lunette.task.spawn(function()
    for _ = worker, count, workers do
      local c = lunette.container.run { image = reference, args = { "/bin/true" } }
      c:wait()
      c:remove()
    end
  end)
end
for _, t in ipairs(tasks) do lunette.task.await(t) end
print(string.format("%.6f", lunette.clock() - began))
