-- What a script was called with: its words, options with one value each, and what stands behind
-- `--`. For scripts of this folder: local words, options, rest = require("arguments").read(arg, …)
local arguments = {}

-- defaults: option → its value where it isn't given, false for one that may be missing. An option
-- that isn't there, or has no value, is an error in the name of the script.
function arguments.read(list, script, defaults)
  local words, options, i = {}, {}, 1
  for name, value in pairs(defaults) do options[name] = value or nil end
  while list[i] do
    local name = list[i]:match "^%-%-(%l*)$"
    if name == "" then return words, options, table.move(list, i + 1, #list, 1, {}) end
    if name then
      if defaults[name] == nil or not list[i + 1] then
        error(script .. ": " .. list[i] .. " is no option, or has no value", 0)
      end
      options[name], i = list[i + 1], i + 1
    else
      words[#words + 1] = list[i]
    end
    i = i + 1
  end
  return words, options
end

return arguments
