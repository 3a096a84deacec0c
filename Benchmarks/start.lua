-- One connected client: for each line on stdin, creates, starts and waits for a container,
-- prints the seconds that took, and removes it.
local lunette = require "lunette"
local reference = arg[1]

io.stdout:setvbuf("line")
print("ready")
for line in io.lines() do
  local began = lunette.clock()
  local c = lunette.container.create { image = reference, args = { "/bin/true" } }
  c:start()
  local exit = c:wait()
  local took = lunette.clock() - began
  assert(exit.code == 0, "exit code " .. exit.code)
  if line == "profile" then
    print(lunette.json.encode(c:inspect().start_profile or {}))
  else
    print(string.format("%.9f", took))
  end
  c:remove()
end
