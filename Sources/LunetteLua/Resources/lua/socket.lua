-- lunette.socket: more sockets of the engine, each with a filter that judges every call of its users; and the filters that are ready-made.

local core = ...
local host, fail = core.host, core.fail
local type, next, tostring, pcall = type, next, tostring, pcall
local hooks = core.need "hooks"

local sockets = {}

---- what a spec may say ------------------------------------------------------------------------

local function set(words)
  local result = {}
  for word in words:gmatch "%S+" do result[word] = true end
  return result
end

local function given(value) return value ~= nil and value ~= host.null end

-- Why not each field of a table is as these rules have it; nil when each is. A rule is true, or a function of the value, its path and the
-- engine's defaults that returns why not. What no rule names is refused: what the API gets later is judged before it is let through.
local function refused(fields, rules, path, otherwise, defaults)
  if type(fields) ~= "table" then return path .. " is no table" end
  for key, value in next, fields do
    local rule, here = rules[key], path .. "." .. tostring(key)
    if given(value) and rule ~= true then
      local why = rule == nil and here .. otherwise or rule and rule(value, here, defaults)
      if why then return why end
    end
  end
end

local function one_of(words, otherwise)
  local known_words = set(words)
  return function(value, path)
    if not known_words[value] then return path .. otherwise end
  end
end

local function only(wanted, otherwise)
  return function(value, path)
    if value ~= wanted then return path .. otherwise end
  end
end

local function table_of(rules, otherwise)
  return function(value, path, defaults) return refused(value, rules, path, otherwise, defaults) end
end

local function nothing_in(otherwise)
  return function(value, path)
    if type(value) ~= "table" or next(value) then return path .. otherwise end
  end
end

-- A list of mounts, each of a type that has rules.
local function mounts_of(rules, otherwise)
  return function(mounts, path, defaults)
    if type(mounts) ~= "table" then return path .. " is no list" end
    for index, mount in next, mounts do
      local here = path .. "[" .. tostring(index) .. "]"
      local rule = type(mount) == "table" and rules[mount.type]
      local why = not rule and here .. " is of a type that isn't let through" or refused(mount, rule, here, otherwise, defaults)
      if why then return why end
    end
  end
end

local function with(rules, changes)
  local result = {}
  for key, rule in next, rules do result[key] = rule end
  for key, rule in next, changes do result[key] = rule end
  return result
end

---- what doesn't reach the host ------------------------------------------------------------------

local reaching = " may reach the host"
-- A process of another container shows that one's files, and what it has of the host's among them; its network may be the host's.
local unshared = one_of("none private", " is the host's or another container's")
local more = " is more than by default"
local walls = {
  network = unshared, pid = unshared, ipc = unshared,
  pod = function(value, path)
    if type(value) ~= "boolean" then return path .. " is another container's network" end
  end,
  security = table_of({
    user_namespace = only(true, " is off"), privileged = only(false, reaching), seccomp = only("default", " isn't the default"),
    capabilities = table_of({ drop = true, add = nothing_in(more) }, more), no_new_privileges = true, landlock = true,
  }, reaching),
}
for field in next, set [[name image entrypoint args env workdir user hostname labels tty stdin init readonly_rootfs dns resources rlimits
  sysctls restart health lifecycle stop log remove_on_exit time_limit lifetime]] do
  walls[field] = true
end
local volume_mount = {
  type = true, source = true, target = true, readonly = true, fork = true, options = table_of({ exec = true, copy = true }, reaching),
}
local tmpfs_mount = with(volume_mount, { options = table_of({ exec = true, size = true, mode = true }, reaching) })
walls.mounts = mounts_of({ volume = volume_mount, tmpfs = tmpfs_mount, image = volume_mount }, reaching)

---- what is no more than any container has --------------------------------------------------------

-- A number as the engine reads it; nil when it is none.
local function measured(unit, value)
  if not unit then return type(value) == "number" and value or nil end
  local ok, number = pcall(core.call, unit, value)
  return ok and number or nil
end

local function at_most(default, unit)
  return function(value, path, defaults)
    local number = measured(unit, value)
    -- Also what is no number at all, and -1, which is no limit.
    if not (number and number > 0 and number <= defaults[default]) then return path .. more end
  end
end

local function at_least(default, unit)
  return function(value, path, defaults)
    local number = measured(unit, value)
    if not (number and number >= defaults[default]) then return path .. " is sooner than by default" end
  end
end

local modest = {
  security = table_of({
    user_namespace = only(true, " is off"), privileged = only(false, more), seccomp = only("default", " isn't the default"),
    capabilities = table_of({ drop = true, add = nothing_in(more) }, more), no_new_privileges = only(true, " is off"), landlock = true,
  }, more),
  -- By default neither memory nor processors are limited.
  resources = table_of({
    memory = true, memory_swap = true, cpus = true, cpuset = true, oom = true, pids = at_most "pids",
    cpu_shares = at_most "cpu_shares", io_weight = at_most "io_weight", shm_size = at_most("shm_size", "bytes"),
  }, more),
  log = table_of({ max_size = at_most("log_size", "bytes"), max_files = at_most "log_files" }, more),
  restart = function(value, path, defaults)
    if type(value) ~= "table" then return end
    return refused(value, {
      policy = true, max_attempts = true,
      backoff = table_of({ initial = at_least("backoff_initial", "seconds"), max = at_least("backoff_max", "seconds") }, more),
    }, path, more, defaults)
  end,
  mounts = mounts_of({
    volume = with(volume_mount, {
      source = function(value, path)
        if value ~= "" then return path .. " may be somebody else's: volumes have no owner" end
      end,
    }),
    tmpfs = with(tmpfs_mount, {
      options = table_of({ exec = true, mode = true, size = at_most("tmpfs_size", "bytes") }, more),
    }),
  }, more),
}
modest = with(walls, modest)
for _, field in next, { "dns", "sysctls", "lifecycle", "pod" } do modest[field] = nil end

local function reaches_host(spec) return refused(spec, walls, "spec", reaching) end
local function exceeds(spec, defaults) return refused(spec, modest, "spec", " is more than a container has by default", defaults) end

---- ready-made filters -------------------------------------------------------------------------

local ready = {}

function ready.all() return true end

function ready.read_only(call)
  if call.changes then return false, "its users may only look" end
  return true
end

local makings = set "container.create container.run container.apply"
-- Calls that change something and aren't of these nouns could bring code or paths in that nobody here judges.
local known_nouns = set "container image volume"
-- What may be done to a container that has something of the host's: nothing that reaches into it.
local from_outside = set [[container.get container.find container.inspect container.wait container.stats container.processes container.logs
  container.follow_logs container.diff container.stop container.kill container.pause container.resume container.remove]]

-- What other calls may say; those that aren't here name nothing of the host's but in `host_paths`.
local fields_of = {
  ["image.build"] = {
    tag = true, from = true, run = true, config = true, progress = true, copy = nothing_in(reaching),
    network = only("none", " is the host's"),
  },
  ["container.update"] = { container = true, labels = true, resources = true, restart = true },
}
-- Their bytes may come with the call instead of from a path: they would be others' images.
local carriers = set "image.load image.save"

function ready.no_bind_mounts(call)
  if #call.host_paths > 0 then return false, call.host_paths[1] .. " is a path of the host's" end
  local arguments = call.arguments
  if call.name == "hook.register" and call.changes then return false, "a handler could amend what others mount" end
  if call.name == "lunette.apply" then return true end -- each of its objects is judged by itself
  if call.changes and not known_nouns[call.noun] then return false, "it is not about containers, images or volumes" end
  if carriers[call.name] then return false, "it carries images in or out" end
  local why = fields_of[call.name] and refused(arguments, fields_of[call.name], "arguments", reaching)
  if not why and call.noun == "container" and (given(arguments.spec) or makings[call.name]) then why = reaches_host(arguments.spec) end
  if why then return false, why end
  local reaches = call.container and call.container.reaches
  if reaches and #reaches > 0 and not from_outside[call.name] then return false, "the container has " .. reaches[1] end
  if call.noun == "volume" and call.changes then
    local spec = type(arguments.spec) == "table" and arguments.spec or arguments
    if given(spec.options) and (type(spec.options) ~= "table" or next(spec.options)) then
      return false, "a volume's driver may take a path of the host's in its options"
    end
  end
  return true
end

local anybodys = set [[system.ping system.version system.info image.list image.get image.find image.inspect
  image.inspect_all image.pull]]
local listings = set "container.list container.inspect_all"
local own = set [[container.get container.find container.inspect container.start container.stop container.kill container.restart
  container.pause container.resume container.remove container.rename container.update container.wait container.exec container.resize
  container.detach container.attach container.logs container.follow_logs container.stats container.processes container.diff
  container.apply container.transition]]

function ready.own_containers(call)
  local uid = call.actor.uid
  if #call.host_paths > 0 then return false, call.host_paths[1] .. " is a path of the host's" end
  -- Each of an apply's objects is judged by itself.
  if anybodys[call.name] or call.name == "lunette.apply" then return true end
  if listings[call.name] then return { arguments = { owner = uid } } end
  local exists = call.container ~= nil
  if exists and call.container.owner ~= uid or not exists and own[call.name] and not makings[call.name] then
    return false, "no such container is yours"
  end
  if makings[call.name] then
    local why = exceeds(call.arguments.spec, call.defaults)
    if why then return false, why end
    return true
  end
  if call.name == "container.update" then
    local why = refused(call.arguments, { container = true, labels = true, resources = modest.resources, restart = modest.restart },
      "arguments", " is more than a container has by default", call.defaults)
    if why then return false, why end
  end
  if own[call.name] then return true end
  return false, "it is not about your containers"
end

---- judging ------------------------------------------------------------------------------------

local function filter_of(value, path)
  if type(value) == "function" then return value end
  if type(value) == "string" then
    if ready[value] then return ready[value] end
    local names = {}
    for name in next, ready do names[#names + 1] = name end
    local near = host.call("nearest", value, names)
    fail("invalid_argument", "\"" .. value .. "\" is no filter", { path = path, hint = near and "did you mean \"" .. near .. "\"?"
      or "known: all, own_containers, no_bind_mounts, read_only, or a function" })
  end
  fail("invalid_argument", "expected a function or a filter's name, got " .. type(value), { path = path })
end

-- All of them must let a call through; what they narrow adds up.
local function judge(filters, call)
  local arguments
  for index = 1, #filters do
    local verdict, reason = filters[index](call)
    if type(verdict) == "table" and type(verdict.arguments) == "table" then
      arguments = hooks.merge(arguments or {}, verdict.arguments)
    elseif verdict == false then
      return { deny = type(reason) == "string" and reason or "its filter refuses it" }
    elseif verdict ~= true then
      -- Nothing returned is no yes: a branch that was forgotten must not let through.
      return { deny = "its filter returned " .. type(verdict) .. ", neither true nor false" }
    end
  end
  return { arguments = arguments }
end

local known = set "path owner group mode filter"

function sockets.declare(name, options)
  if not (core.register_hook or core.is_registered) then
    fail("invalid_state", "a socket is declared by a resident script", { operation = "lunette.socket", hint = "docs/service.md" })
  end
  if not core.is_loading then
    fail("invalid_state", "a resident script declares its sockets while it loads", { operation = "lunette.socket" })
  end
  if type(name) ~= "string" then fail("invalid_argument", "expected a name, got " .. type(name), { operation = "lunette.socket" }) end
  if type(options) ~= "table" then
    fail("invalid_argument", "expected a table of options, got " .. type(options), { operation = "lunette.socket" })
  end
  local unknown = core.need("options").first_unknown(options, known)
  if unknown then
    fail("invalid_argument", "unknown option", { operation = "lunette.socket", path = unknown,
      hint = "known: filter, group, mode, owner, path" })
  end
  if options.filter == nil then
    fail("invalid_argument", "is required", { operation = "lunette.socket", path = "filter",
      hint = "\"all\" makes its users the engine's equals" })
  end
  local filters = {}
  if type(options.filter) == "table" then
    for index = 1, #options.filter do filters[index] = filter_of(options.filter[index], "filter[" .. index .. "]") end
    if #filters == 0 then fail("invalid_argument", "is an empty list", { operation = "lunette.socket", path = "filter" }) end
  else
    filters[1] = filter_of(options.filter, "filter")
  end
  local words = {}
  for index, filter in next, type(options.filter) == "table" and options.filter or { options.filter } do
    words[index] = type(filter) == "string" and filter or "a function"
  end
  local source, line = host.where()
  local declaration = { name = name, file = source, line = line, filter = table.concat(words, ", ") }
  for _, key in next, { "path", "owner", "group", "mode" } do declaration[key] = options[key] end
  -- What the engine is told of them, in order.
  core.declared_sockets = core.declared_sockets or {}
  core.declared_sockets[#core.declared_sockets + 1] = declaration
  core.need("subscriptions").keep("socket/" .. name, "socket " .. name, name, "filter", function(call) return judge(filters, call) end)
end

return sockets
