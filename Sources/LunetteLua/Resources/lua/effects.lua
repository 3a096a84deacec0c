-- What a resident script or a plugin may not do while it is loaded. It keeps nothing (core.lua, `keeps_nothing`).

local core = ...

-- What reads nothing but its arguments: loading has no effects (contract §5.4).
local pure = {}
for word in ("bytes seconds unique nearest json.encode json.decode log noun fields module store cron"):gmatch("%S+") do
  pure[word] = true
end

local effects = {}

function effects.refuse(operation, what)
  if pure[what] then return end
  core.fail("invalid_state", (operation or what) .. " isn't called while a resident script or a plugin is loaded", {
    operation = operation, hint = "in a handler, a timer, or the function start that the script returns",
  })
end

return effects
