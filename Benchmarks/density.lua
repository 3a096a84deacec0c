-- Starts COUNT containers that stay, one after the other, and prints for each the seconds from
-- create to running and its first process's id; leaves them when stdin ends.
local lunette = require "lunette"
local reference, count = arg[1], tonumber(arg[2])

io.stdout:setvbuf("line")
for _ = 1, count do
  local began = lunette.clock()
  local c = lunette.container.run { image = reference, args = { "/bin/sleep", "100000" } }
  local took = lunette.clock() - began
  print(string.format("%.9f %d", took, c:inspect().pid))
end
print("all")
io.read("a")
