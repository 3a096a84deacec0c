-- The volume driver `local`: one folder a volume, named by the volume's id, so that a rename moves nothing.
--
-- Read-only mounts, ids of each container, copy-up of an image's files and the users of a volume are the engine's work.

local known_options = { mode = true }

local function folder(r)
  return r.volumes_directory .. "/" .. r.volume.id
end

local function check_options(r)
  for name in pairs(r.volume.options or {}) do
    if not known_options[name] then
      lunette.fail("invalid_argument", "the local driver has no option \"" .. tostring(name) .. "\"", {
        path = "options." .. tostring(name),
        hint = "known: mode",
      })
    end
  end
  local mode = (r.volume.options or {}).mode or "0755"
  if type(mode) ~= "string" or not mode:match("^[0-7]?[0-7][0-7][0-7]$") then
    lunette.fail("invalid_argument", "mode is not a file mode", {
      path = "options.mode",
      hint = "write octal digits as a string, such as \"0755\"",
    })
  end
  return mode
end

-- Called again after a crash with the same volume: a folder that is there is the answer.
local function make(r)
  local mode = check_options(r)
  local path = folder(r)
  if not fs.exists(path) then
    fs.mkdir(path, { mode = mode, parents = true })
  end
  return path
end

return {
  volume = {
    ["local"] = {
      create = function(r)
        make(r)
        return {}
      end,

      mount = function(r)
        return { path = make(r) }
      end,

      -- Removing what is absent succeeds.
      remove = function(r)
        fs.remove(folder(r), { recursive = true })
      end,

      -- A size is remembered and shown; a plain folder can't enforce it.
      usage = function(r)
        local usage = fs.usage(folder(r))
        return { used = usage.used, inodes = usage.inodes, limit = r.volume.size, enforced = false }
      end,

      check = function(r)
        if fs.exists(folder(r)) then return true end
        return false, "its folder is gone"
      end,
    },
  },
}
