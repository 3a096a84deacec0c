-- Starts COUNT containers that stay, one after the other, and prints for each the seconds from
-- create to running and its first process's id. Told "exec" it runs six commands in each, as a
-- health check would; leaves them when stdin ends.
local lunette = require "lunette"
local reference, count = arg[1], tonumber(arg[2])

io.stdout:setvbuf("line")
local containers = {}
for number = 1, count do
  local began = lunette.clock()
  local c = lunette.container.run { image = reference, args = { "/bin/sleep", "100000" } }
  local took = lunette.clock() - began
  containers[number] = c
  print(string.format("%.9f %d", took, c:inspect().pid))
end
print("all")
if io.read("l") == "exec" then
  for _ = 1, 6 do
    for _, c in ipairs(containers) do c:exec({ "/bin/true" }, { check = true }) end
  end
  print("done")
end
io.read("a")
