-- lunette.test: what a test plays of the world: images, programs, events, failures.

local core = ...
local host = core.host
local host_call, call_for = host.call, core.call_for
local nouns = core.need "nouns"
local type, tostring, next, ipairs = type, tostring, next, ipairs
local test, world = core.testing, core.test_world
local skip, want, known_only, needs_simulation, in_test = world.skip, world.want, world.known_only, world.needs_simulation, world.in_test

-- Makes an image be there. options: the OCI image's config (Cmd, Entrypoint, Env, Labels …), by the words of image.build's config.
local config_words = {
  entrypoint = "Entrypoint", cmd = "Cmd", workdir = "WorkingDir", user = "User", labels = "Labels", stop_signal = "StopSignal",
}

function test.image(reference, options)
  want(reference, "string", "test.image")
  in_test "test.image"
  if not world.is_simulated then
    if not core.lunette.image.find(reference) then skip("the image " .. reference .. " is not here") end
    return core.lunette.image.get(reference)
  end
  local config
  if options ~= nil then
    local known = { env = true, volumes = true, exposed_ports = true }
    for word in next, config_words do known[word] = true end
    known_only(options, known, "test.image")
    config = {}
    for word, value in next, options do
      if config_words[word] then config[config_words[word]] = value end
    end
    if options.env then
      config.Env = {}
      for key, value in next, options.env do config.Env[#config.Env + 1] = key .. "=" .. tostring(value) end
      table.sort(config.Env)
    end
    for word, name in next, { volumes = "Volumes", exposed_ports = "ExposedPorts" } do
      if options[word] then
        config[name] = {}
        for _, item in ipairs(options[word]) do config[name][item] = {} end
      end
    end
  end
  call_for("test.image", "test.image", reference, config or host.null)
  return core.lunette.image.get(reference)
end

local answer_words = { code = true, signal = true, stdout = true, stderr = true, after = true, ignores = true, times = true, runs = true }

local function check_answer(answer, what)
  if type(answer) == "function" then return end
  known_only(answer, answer_words, what)
  if answer.signal then call_for(what, "test.check_signal", answer.signal) end
  for _, signal in ipairs(answer.ignores or {}) do call_for(what, "test.check_signal", signal) end
  if answer.after then call_for(what, "seconds", answer.after) end
end

-- Which containers: a name, `web-*`, a handle, {name=, image=}.
local function container_filter(which, what)
  if which == nil or type(which) == "string" then return { name = which } end
  if nouns.is_handle(which) then return { name = which.name } end
  known_only(which, { name = true, image = true }, what)
  return which
end

-- What the program of a container does: { code=, signal=, after=, stdout=, stderr=, ignores={…}, times= }, or a function that says so.
function test.program(container, answer)
  local state = in_test "test.program"
  local filter = container_filter(container, "test.program")
  check_answer(answer, "test.program")
  if not world.is_simulated then return end
  state.programs[#state.programs + 1] = { filter = filter, answer = answer, times = type(answer) == "table" and answer.times or nil }
end

-- What an exec answers. args: a list whose items may hold `*`, its last item "..." for any more; nil: every exec.
function test.exec(container, args, answer)
  local state = in_test "test.exec"
  local filter = container_filter(container, "test.exec")
  if type(args) == "string" then args = { "/bin/sh", "-c", args } end
  if args ~= nil then want(args, "table", "test.exec") end
  check_answer(answer, "test.exec")
  if not world.is_simulated then return end
  state.execs[#state.execs + 1] = {
    filter = filter, args = args, answer = answer, times = type(answer) == "table" and answer.times or nil,
  }
end

-- Ends the program of a running container: { code=, signal=, oom_killed= }.
function test.exit(container, exit)
  needs_simulation "test.exit"
  in_test "test.exit"
  exit = exit or {}
  known_only(exit, { code = true, signal = true, oom_killed = true }, "test.exit")
  if exit.signal then call_for("test.exit", "test.check_signal", exit.signal) end
  call_for("test.exit", "test.exit", nouns.is_handle(container) and container.id or container, exit)
end

-- Gives `on` handlers an event, or asks `before` handlers: { allowed, spec, reason, hook, notes }.
function test.emit(event, fields)
  needs_simulation "test.emit"
  in_test "test.emit"
  want(event, "string", "test.emit")
  if fields ~= nil then want(fields, "table", "test.emit") end
  return call_for("test.emit", "test.emit", event, fields or {})
end

local fail_options = { times = true, message = true, hint = true, after = true, match = true }

-- Makes calls of a function fail with a code. times: how often (else always); after: how many pass before; match: arguments they have.
function test.fail(name, code, options)
  local state = in_test "test.fail"
  needs_simulation "test.fail"
  want(name, "string", "test.fail")
  want(code, "string", "test.fail")
  options = options or {}
  known_only(options, fail_options, "test.fail")
  call_for("test.fail", "test.check_name", name, code)
  state.faults[#state.faults + 1] = {
    name = name, code = code, message = options.message, hint = options.hint, left = options.times, pass = options.after or 0,
    match = options.match,
  }
  core.look_at()
end

-- Makes calls of a function answer a value, or what a function of their arguments returns.
function test.stub(name, answer)
  local state = in_test "test.stub"
  needs_simulation "test.stub"
  want(name, "string", "test.stub")
  call_for("test.stub", "test.check_name", name)
  state.stubs[#state.stubs + 1] = { name = name, answer = answer }
  core.look_at()
end

-- Which calls that need no engine are to be brought here.
function core.look_at()
  local names = {}
  for _, list in next, { world.current.faults, world.current.stubs } do
    for _, entry in ipairs(list) do names[#names + 1] = entry.name end
  end
  host_call("test.look_at", names)
end

world.check_answer = check_answer

return {}
