-- Waiting where Lua can't yield (a sort's comparator, a `require`d chunk). It keeps nothing (core.lua, `keeps_nothing`).

local core = ...
local pump, waiting, blocked = core.host.pump, core.waiting, core.blocked
local unpack = table.unpack

local blocking = {}

-- Handles the host's messages here until the token's turn has come; what it is woken with.
function blocking.block(token)
  local cell = {}
  blocked[token] = cell
  waiting[token] = nil
  local me = core.current()
  while not cell.n do
    core.run_ready()
    if cell.n then break end
    if not pump() and not cell.n then
      cell.n, cell[1], cell[2] = 2, false, { code = "would_block", message = "nothing can end this wait" }
    end
  end
  blocked[token] = nil
  -- A message that failed may have left another there.
  core.set_current(me)
  if me and me.token == token then me.token, me.abandon = nil, nil end
  return unpack(cell, 1, cell.n)
end

-- For coroutine.resume (bridge_coroutine.c).
core.entries.block = blocking.block

return blocking
