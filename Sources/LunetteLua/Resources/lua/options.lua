-- Options that functions of the Lua side look at themselves. It keeps nothing (core.lua, `keeps_nothing`).

local core = ...
local next = next

local options = {}

-- The first key by name that isn't among `known`; nil when all are. A table's own order is another one each time.
function options.first_unknown(given, known)
  local first
  for key in next, given do
    if not known[key] then
      local word = core.text_of(key)
      if not first or word < first then first = word end
    end
  end
  return first
end

return options
