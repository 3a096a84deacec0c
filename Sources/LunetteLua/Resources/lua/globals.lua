-- What a script's chunk finds: its arguments, its modules, and names of the API as globals where it is to have them.

local core = ...
local lunette = core.lunette
local ipairs, setmetatable, rawset = ipairs, setmetatable, rawset

local globals = {}

-- Prepares _G for a chunk: {name, arguments, directory, globals}
function globals.open(what)
  if core.is_limited or core.has_globals then return end
  core.has_globals = true
  package.loaded.lunette = lunette
  -- The script's folder first; never the working directory.
  local kept = {}
  for entry in package.path:gmatch("[^;]+") do
    if entry:sub(1, 1) == "/" then kept[#kept + 1] = entry end
  end
  if what.directory then
    table.insert(kept, 1, what.directory .. "/?/init.lua")
    table.insert(kept, 1, what.directory .. "/?.lua")
  end
  package.path = table.concat(kept, ";")
  kept = {}
  for entry in package.cpath:gmatch("[^;]+") do
    if entry:sub(1, 1) == "/" then kept[#kept + 1] = entry end
  end
  package.cpath = table.concat(kept, ";")
  local arguments = { [0] = what.script }
  for index, value in ipairs(what.arguments or {}) do arguments[index] = value end
  _G.arg = arguments
  if what.captures then
    core.need("capture").output()
    if what.has_test_time then core.need("capture").time() end
  end
  if what.globals then
    setmetatable(_G, {
      __index = function(global, name)
        if not core.need("library").globals[name] then return nil end
        local value = name == "lunette" and lunette or lunette[name]
        rawset(global, name, value)
        return value
      end,
    })
  end
end

return globals
