-- What a resident script returned: its start and its stop.

local core = ...
local replies = core.need "replies"

-- Tasks that it spawned while it was loaded wait for its start.
local function release_held()
  local held = core.held or {}
  core.held = nil
  for index = 1, #held do core.line_up(held[index]) end
end

-- {reply, name, timeout}: start or stop. With start, the timers and tasks that it made while it was loaded begin.
function core.entries.resident_life(what)
  if what.name == "start" then release_held() end
  replies.run(what.reply, what.timeout, function()
    local f = core.life and core.life[what.name]
    if f then f() end
  end)
end

return {}
