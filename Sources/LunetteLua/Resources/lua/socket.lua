-- lunette.socket: more sockets of the engine, each with a filter that judges every call of its users; and the filters that are ready-made.

local core = ...
local host, fail = core.host, core.fail
local type, next, tostring = type, next, tostring
local hooks = core.need "hooks"

local sockets = {}

---- what a spec may say ------------------------------------------------------------------------

local function set(words)
  local result = {}
  for word in words:gmatch "%S+" do result[word] = true end
  return result
end

local function given(value) return value ~= nil and value ~= host.null end

-- Whatever isn't named here is refused: what the API gets later is judged before it is let through.
local plain = set [[name image entrypoint args env workdir user hostname labels tty stdin init mounts readonly_rootfs network pid ipc
  resources rlimits security restart health stop log remove_on_exit time_limit lifetime]]
local plain_security = set "user_namespace privileged capabilities seccomp no_new_privileges landlock"

-- Why a container so made reaches the host; nil when it doesn't.
local function reaches_host(spec)
  if type(spec) ~= "table" then return "a container's spec is a table" end
  for _, key in next, { "rootfs", "devices", "oci" } do
    if given(spec[key]) then return "spec." .. key .. " reaches the host" end
  end
  if spec.network == "host" then return "spec.network is the host's" end
  local security = given(spec.security) and spec.security or {}
  if type(security) ~= "table" then return "spec.security is a table" end
  if given(security.privileged) and security.privileged ~= false then return "spec.security.privileged reaches the host" end
  if given(security.user_namespace) and security.user_namespace ~= true then return "spec.security.user_namespace is off" end
  if given(security.seccomp) and security.seccomp ~= "default" then return "spec.security.seccomp isn't the default" end
  local capabilities = given(security.capabilities) and security.capabilities or {}
  if type(capabilities) ~= "table" or given(capabilities.add) and (type(capabilities.add) ~= "table" or next(capabilities.add)) then
    return "spec.security.capabilities.add is more than by default"
  end
  for _, key in next, { "pid", "ipc" } do
    local value = spec[key]
    -- A process of another container shows that one's files, and what it has of the host's among them.
    if given(value) and value ~= "private" and value ~= "none" then return "spec." .. key .. " is shared with others" end
  end
  local mounts = given(spec.mounts) and spec.mounts or {}
  if type(mounts) ~= "table" then return "spec.mounts is a list" end
  local own = set "volume tmpfs image secret config"
  for index, mount in next, mounts do
    if type(mount) ~= "table" or not own[mount.type] then
      return "spec.mounts[" .. tostring(index) .. "] is a folder of the host's"
    end
  end
end

-- Why a container so made has more than one by default; nil when it hasn't.
local function exceeds(spec)
  local why = reaches_host(spec)
  if why then return why end
  for key, value in next, spec do
    if given(value) and not plain[key] then return "spec." .. tostring(key) .. " is more than a container has by default" end
  end
  if given(spec.network) and spec.network ~= "none" and spec.network ~= "private" then return "spec.network is shared with others" end
  local security = given(spec.security) and spec.security or {}
  for key, value in next, security do
    if given(value) and not plain_security[key] then return "spec.security." .. tostring(key) .. " is more than by default" end
  end
  if given(security.no_new_privileges) and security.no_new_privileges ~= true then
    return "spec.security.no_new_privileges is off"
  end
  for index, mount in next, given(spec.mounts) and spec.mounts or {} do
    if mount.type == "volume" and given(mount.source) or mount.type == "secret" or mount.type == "config" then
      return "spec.mounts[" .. tostring(index) .. "] may be somebody else's: volumes have no owner"
    end
  end
end

---- ready-made filters -------------------------------------------------------------------------

local ready = {}

function ready.all() return true end

function ready.read_only(call)
  if call.changes then return false, "its users may only look" end
  return true
end

-- Calls that change something and aren't of these nouns could bring code or paths in that nobody here judges.
local known_nouns = set "container image volume"
-- What may be done to a container that has something of the host's: nothing that reaches into it.
local from_outside = set [[container.get container.find container.inspect container.wait container.stats container.processes container.logs
  container.follow_logs container.diff container.stop container.kill container.pause container.resume container.remove]]

function ready.no_bind_mounts(call)
  if #call.host_paths > 0 then return false, call.host_paths[1] .. " is a path of the host's" end
  local arguments = call.arguments
  if call.name == "hook.register" and call.changes then return false, "a handler could amend what others mount" end
  if call.name == "lunette.apply" then return true end -- each of its objects is judged by itself
  if call.changes and not known_nouns[call.noun] then return false, "it is not about containers, images or volumes" end
  if given(arguments.spec) or call.name == "container.create" or call.name == "container.run" or call.name == "container.apply" then
    local why = reaches_host(arguments.spec)
    if why then return false, why end
  end
  local reaches = call.container and call.container.reaches
  if reaches and #reaches > 0 and not from_outside[call.name] then return false, "the container has " .. reaches[1] end
  if call.noun == "volume" and call.changes and type(arguments.options) == "table" and next(arguments.options) then
    return false, "a volume's driver may take a path of the host's in its options"
  end
  return true
end

local anybodys = set [[system.ping system.version system.info image.list image.get image.find image.inspect
  image.inspect_all image.pull]]
local listings = set "container.list container.inspect_all"
local makings = set "container.create container.run container.apply"
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
    local why = exceeds(call.arguments.spec)
    if why then return false, why end
    return true
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
