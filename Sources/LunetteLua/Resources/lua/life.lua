-- What a resident script returned: its start and its stop.

local core = ...
local replies = core.need "replies"

-- {reply, name, timeout}: start or stop. With start, the timers and tasks that it made while it was loaded begin.
function core.entries.resident_life(what)
  if what.name == "start" then core.release_held() end
  replies.run(what.reply, what.timeout, function()
    local f = core.life and core.life[what.name]
    if f then f() end
  end)
end

return {}
