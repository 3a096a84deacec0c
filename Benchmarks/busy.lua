-- One of many clients: a small call every ten milliseconds until a file is there; prints how many.
local lunette = require "lunette"

local calls = 0
lunette.container.list()
print("ready")
io.stdout:flush()
while not lunette.fs.exists(arg[1]) do
  lunette.container.list()
  calls = calls + 1
  lunette.task.sleep(0.01)
end
print(calls)
