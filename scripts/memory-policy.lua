-- Resident: a memory limit for every container, by its label `memory`: what asks for none gets its
-- class's limit, what asks for more is denied, now and in each later update.
-- Copy it to /etc/lunette/conf.d and run "lunette reload". See docs/scripts.md.
local lunette = require "lunette"
local log = lunette.log

local CLASSES = { small = "128MiB", medium = "1GiB", large = "8GiB" }
local DEFAULT = "small"

local function names()
  local list = {}
  for name in pairs(CLASSES) do list[#list + 1] = name end
  table.sort(list, function(a, b) return lunette.bytes(CLASSES[a]) < lunette.bytes(CLASSES[b]) end)
  return table.concat(list, ", ")
end

-- The class's name and its limit in bytes; nil where the label names no class.
local function class_of(labels)
  local name = labels and labels.memory or DEFAULT
  return name, CLASSES[name] and lunette.bytes(CLASSES[name])
end

local function judge(ev, labels, asked)
  local class, limit = class_of(labels)
  if not limit then
    ev:deny(("the label memory=%s names no class: there are %s"):format(class, names()))
  elseif asked and (asked <= 0 or asked > limit) then -- 0 or less: no limit at all
    ev:deny(("memory class %s allows %s"):format(class, CLASSES[class]))
  end
  return limit
end

lunette.before("container.create", { name = "memory-policy" }, function(ev)
  if ev.spec.pod == true then return end -- a pod itself runs no program
  local asked = ev.spec.resources and ev.spec.resources.memory
  asked = asked and lunette.bytes(asked)
  local limit = judge(ev, ev.spec.labels, asked)
  if not asked then ev:amend { resources = { memory = limit } } end
end)

-- Neither a limit that is raised or lifted later nor a label that is changed later gets around it;
-- what loses its label gets the limit of the class that has none.
lunette.before("container.update", { name = "memory-policy-update" }, function(ev)
  local info = ev.container:inspect()
  local labels, asked = ev.spec.labels or {}, (ev.spec.resources or {}).memory
  local class, held = labels.memory or info.labels.memory, info.spec.resources.memory
  if asked == lunette.null then asked = 0 end
  if labels.memory ~= lunette.null then
    judge(ev, { memory = class }, asked or held)
    return
  end
  local limit = judge(ev, {}, asked)
  if info.spec.image and not asked and (not held or held > limit) then
    ev:amend { resources = { memory = limit } }
    log.warn(ev.target.name .. " has lost its memory class", { memory = limit })
  end
end)
