-- Runs in the guest of scripts/dev/test-in-vm, as root of a machine where cgroup v2 is all there
-- is: every proof is one line, and what is proven is read from the kernel's own files on the
-- host's side as well as seen from inside.
local lunette = require "lunette"
local container, image, volume = lunette.container, lunette.image, lunette.volume

local CGROUPS, TRACING = "/sys/fs/cgroup/lunette", "/sys/kernel/tracing"
local failures, proofs = 0, 0

local function proof(what, ok, found)
  proofs = proofs + 1
  if not ok then failures = failures + 1 end
  local shown = ok and "ok" or "FAILED: " .. tostring(found):gsub("\n", "\\n")
  print(string.format("%-66s %s", what, shown))
end

local function equal(what, found, wanted) proof(what, found == wanted, found) end

local function contents(path)
  local file = io.open(path)
  if not file then return nil end
  local text = file:read "a"
  file:close()
  return text
end

local function popen(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  pipe:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  assert(file:write(text))
  assert(file:close())
end

-- A file of the container's cgroup as the host sees it.
local function cgroup(c, name) return contents(("%s/%s/%s"):format(CGROUPS, c.id, name)) end

-- Of a file of `key value` lines.
local function figure(text, key)
  return tonumber((text or ""):match("%f[%w_]" .. key .. " (%d+)"))
end

local function processes(c)
  local _, count = (cgroup(c, "cgroup.procs") or ""):gsub("%d+", "")
  return count
end

-- Waits for what another process is about to do; a proof fails when it never comes.
local function eventually(f)
  for _ = 1, 200 do
    if f() then return true end
    lunette.task.sleep "50ms"
  end
  return false
end

local function start(spec)
  spec.image = spec.image or "vm:1"
  return container.run(spec)
end

local function run(spec)
  local c = start(spec)
  local exit = c:wait { timeout = "60s" }
  local logs = c:logs()
  c:remove()
  return exit, logs
end

local function shell(code) return { "sh", "-c", code } end

-- What the kernel does in `f`: the cgroup tracepoints and probes that fired, as text.
local function traced(f)
  write(TRACING .. "/trace", "")
  write(TRACING .. "/tracing_on", "1")
  f()
  write(TRACING .. "/tracing_on", "0")
  return (contents(TRACING .. "/trace"):gsub("#[^\n]*\n", ""))
end

local function prepare()
  write(TRACING .. "/tracing_on", "0")
  write(TRACING .. "/kprobe_events", "p:lunette/cgroup_kill cgroup_kill_write\n")
  write(TRACING .. "/events/cgroup/cgroup_attach_task/enable", "1")
  write(TRACING .. "/events/lunette/cgroup_kill/enable", "1")
  image.build {
    tag = "vm:1",
    copy = { { from = "/bin/busybox", to = "/bin/busybox", mode = 493 } },
    run = {
      "/bin/busybox --install -s /bin",
      "mkdir -p /tmp /etc /data && echo lower >/data/lower && echo gone >/data/gone",
      "rm /data/gone",
    },
    config = { env = { PATH = "/bin" } },
  }
end

local function prove_root()
  local exit, logs = run {
    args = shell "echo hello; cat /data/*; echo upper >/data/lower; cat /data/lower; id -u",
  }
  proof("a container runs; its overlay has three layers and an upper",
    exit.code == 0 and logs == "hello\nlower\nupper\n0\n", logs)
  logs = select(2, run {
    args = shell "cd /etc; stat -c %u:%a hosts hostname resolv.conf; echo >>/etc/hosts",
  })
  equal("hosts, hostname, resolv.conf are its root's", logs, "0:644\n0:644\n0:644\n")
  exit, logs = run { args = shell "id -u; echo >/etc/hosts", user = "1000" }
  proof("and no other user's", exit.code ~= 0 and logs:match "^1000\n", logs)
  logs = select(2, run { args = shell "test -t 1 && echo terminal", tty = true })
  equal("a terminal", logs, "terminal\r\n")

  local many
  for number = 1, 12 do
    local from = number == 1 and "vm:1" or "vm:" .. number
    local copy = { from = "/etc/passwd", to = "/layers/" .. number }
    many = image.build { tag = "vm:" .. number + 1, from = from, copy = { copy } }
  end
  logs = select(2, run { image = "vm:13", args = shell "ls /layers | wc -l" })
  local layers = #many:inspect().layers
  proof("more layers than fsconfig's 255 bytes can name by path",
    logs == "12\n" and layers == 16, layers .. " " .. logs)

  if contents("/proc/sys/kernel/osrelease"):find "^6%.[12]%." then
    local bind = { { type = "bind", source = "/run", target = "/data" } }
    local started, why = lunette.try(start, { name = "refused", args = { "true" }, mounts = bind })
    proof("a tmpfs that can't be id-mapped is refused with a hint",
      not started and why:is "unsupported" and (why.hint or ""):find "tmpfs", why)
    local left = container.find "refused"
    if left then left:remove { force = true } end
  end

  volume.create("v")
  local mounts = { { type = "volume", source = "v", target = "/data" } }
  run { args = shell "echo kept >/data/f; chown 7 /data/f", mounts = mounts }
  logs = select(2, run { args = shell "cat /data/f; stat -c %u /data/f", mounts = mounts })
  equal("a volume keeps content and owner from one id range to another", logs, "kept\n7\n")
  volume.remove("v")
end

local function prove_limits()
  local c = start {
    args = shell "cd /sys/fs/cgroup; cat memory.max pids.max cpu.max; exec sleep 1000",
    resources = {
      memory = "64MiB", memory_swap = "64MiB", pids = 20,
      cpus = 0.5, cpuset = "0", cpu_shares = 512,
    },
  }
  equal("memory.max is written", cgroup(c, "memory.max"), "67108864\n")
  equal("memory.swap.max is written", cgroup(c, "memory.swap.max") or "0\n", "0\n")
  equal("pids.max is written", cgroup(c, "pids.max"), "20\n")
  equal("cpu.max is written", cgroup(c, "cpu.max"), "50000 100000\n")
  equal("cpu.weight is written", cgroup(c, "cpu.weight"), "20\n")
  equal("cpuset.cpus is written", cgroup(c, "cpuset.cpus"), "0\n")
  equal("one processor is what it sees", c:exec({ "nproc" }).stdout, "1\n")
  eventually(function() return c:logs() ~= "" end)
  equal("the limits are seen inside", c:logs(), "67108864\n20\n50000 100000\n")
  local info = c:inspect()
  equal("nothing is called degraded or not enforced", #info.degraded + #info.not_enforced, 0)
  c:update { resources = { memory = "96MiB", memory_swap = "96MiB" } }
  equal("an update changes memory.max", cgroup(c, "memory.max"), "100663296\n")
  c:remove { force = true }

  local eater = "x=0123456789abcdef; while true; do x=$x$x; done"
  local exit, logs = run { args = shell(eater), resources = { memory = "24MiB" } }
  proof("memory: the kernel ends it, and the reason is oom",
    exit.oom_killed and exit.reason == "oom" and logs == "", exit.reason)
  local group = "cat /sys/fs/cgroup/memory.oom.group; (" .. eater .. ") & sleep 1000"
  exit, logs = run { args = shell(group), resources = { memory = "24MiB", oom = "group" } }
  equal("oom = group is written to memory.oom.group", logs, "1\n")
  equal("and ends the whole container for one process", exit.reason, "oom")

  c = start {
    args = shell "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; sleep 1000",
    resources = { pids = 5 },
  }
  local refused = eventually(function()
    return (figure(cgroup(c, "pids.events"), "max") or 0) > 0
  end)
  proof("pids: a fork beyond the limit is refused", refused, cgroup(c, "pids.events"))
  proof("and no more than the limit are there", processes(c) <= 5, processes(c))
  c:remove { force = true }

  c = start { args = shell "while :; do :; done", resources = { cpus = 0.1 } }
  local throttled = eventually(function() return c:stats().cpu.throttled_periods > 0 end)
  proof("cpus: a busy loop is throttled", throttled, cgroup(c, "cpu.stat"))
  c:remove { force = true }
end

local function prove_place()
  local c
  local trace = traced(function() c = start { args = { "sleep", "1000" } } end)
  equal("a launch is cloned into its cgroup: nothing is migrated", trace, "")
  equal("its processes are there: init and program", processes(c), 2)
  local joined
  trace = traced(function() joined = c:exec { "cat", "/proc/self/cgroup" } end)
  equal("an exec runs in it", joined.stdout, "0::/\n")
  equal("and is cloned into it", trace, "")
  local seen = c:exec(shell "cd /sys/fs/cgroup; find . -type d; head -n 2 cgroup.procs").stdout
  equal("/sys/fs/cgroup shows only its own", seen, ".\n1\n2\n")
  local refusal = c:exec(shell "cd /sys/fs/cgroup; echo max >pids.max || mkdir x")
  proof("and is read-only", refusal.code ~= 0 and refusal.stderr:find "Read%-only", refusal.stderr)
  -- Root of the host in the container's cgroup: the device filter alone is what refuses.
  local disk = "sh -c 'echo $$ >%s/%s/cgroup.procs && head -c 1 /dev/vda >/dev/null' 2>&1"
  local said
  trace = traced(function() said = popen(disk:format(CGROUPS, c.id)) end)
  proof("devices: the BPF filter refuses the disk", said:find "not permitted", said)
  proof("(a migration would have been seen)", trace:find "cgroup_attach_task", trace)

  local stats = c:stats()
  proof("stats: memory, time, processes are counted",
    stats.memory.used > 0 and stats.cpu.used > 0 and stats.pids.current == 2,
    lunette.inspect(stats))
  local pressure = stats.pressure or {}
  proof("and how long it waited for processor, memory and disk",
    pressure.cpu and pressure.memory and pressure.io and pressure.memory.full.avg10,
    lunette.inspect(pressure))
  c:remove { force = true }
end

-- Plain handlers of a script: no health check, no lifecycle, nothing resident.
local function prove_events()
  local told = {}
  local subs = {}
  local function watch(event, match)
    subs[#subs + 1] = lunette.on(event, { match = match }, function(ev)
      local news = ev.pressure or ev.limited
      told[ev.target.name .. " " .. news.resource] = news
    end)
  end
  watch("container.pressure", { cpu = ">5% 10s" })
  watch("container.limited")
  local burns = shell "while :; do :; done & while :; do :; done"
  local busy = start { name = "busy", args = burns, resources = { cpus = 0.2 } }
  local idle = { "sleep", "1000" }
  local few = start { name = "few", args = idle, resources = { pids = 6 } }
  few:exec(shell "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait")
  local small = start { name = "small", args = idle, resources = { memory = "24MiB" } }
  small:exec { "dd", "if=/dev/zero", "of=/tmp/x", "bs=1M", "count=64" }
  local waited = eventually(function() return told["busy cpu"] end)
  local share = waited and told["busy cpu"].share
  proof("pressure reaches a handler", share and share > 5, lunette.inspect(told))
  eventually(function() return told["few pids"] and told["small memory"] end)
  local pids, memory = told["few pids"] or {}, told["small memory"] or {}
  proof("a fork over the limit too", pids.limit == 6 and pids.hits > 0, lunette.inspect(told))
  proof("and memory's limit", memory.limit == 24 << 20 and memory.hits > 0, lunette.inspect(told))
  equal("whoever has plenty isn't told of", told["few memory"] or told["busy pids"], nil)
  for _, c in ipairs { busy, few, small } do c:remove { force = true } end
  for _, sub in ipairs(subs) do sub:off() end
end

local function prove_pause()
  local c = start { args = shell "i=0; while :; do i=$((i+1)); echo $i >/tmp/count; done" }
  c:pause()
  equal("pause writes cgroup.freeze", cgroup(c, "cgroup.freeze"), "1\n")
  equal("and is done when all are frozen", figure(cgroup(c, "cgroup.events"), "frozen"), 1)
  equal("its status is paused", c:inspect().status, "paused")
  local before = c:stats().cpu.used
  lunette.task.sleep "300ms"
  equal("no time is used while it is", c:stats().cpu.used, before)
  c:resume()
  equal("resume thaws", figure(cgroup(c, "cgroup.events"), "frozen"), 0)
  proof("and it goes on", eventually(function() return c:stats().cpu.used > before end), before)
  -- One process more, which dies with no pid namespace: only the cgroup can find it.
  local stray = "sh -c 'echo $$ >%s/%s/cgroup.procs; exec sleep 1000' >/dev/null 2>&1 &"
  os.execute(stray:format(CGROUPS, c.id))
  local has_joined = eventually(function() return processes(c) == 3 end)
  proof("a stray process is in its cgroup", has_joined, processes(c))
  c:pause()
  local trace = traced(function() c:remove { force = true } end)
  local kill = trace:find "cgroup_kill"
  proof("removed by force while paused, it is ended by cgroup.kill", kill, trace)
  proof("and nothing of it is left", not cgroup(c, "cgroup.procs"), cgroup(c, "cgroup.procs"))
end

local function prove_adoption()
  local c = start {
    args = shell "echo before; until [ -e /go ]; do sleep 0.1; done; echo after; exit 7",
    resources = { pids = 9 },
  }
  local pid = c:inspect().pid
  local first = contents "/run/lunette/pid"
  os.execute("kill -9 " .. first)
  local now = c:inspect()
  proof("the engine is killed; another answers", contents "/run/lunette/pid" ~= first, first)
  local same = now.status == "running" and now.pid == pid
  proof("it has adopted the container", same, now.status)
  equal("which is in its cgroup", cgroup(c, "pids.max"), "9\n")
  equal("and takes an exec", c:exec(shell "echo there; touch /go").stdout, "there\n")
  local exit = c:wait { timeout = "60s" }
  equal("its exit code is known", exit.code, 7)
  equal("and its log is whole", c:logs(), "before\nafter\n")
  c:remove()
end

-- A line that runs `code` in a sandbox. It has an end of its own, whatever hangs. `who` says who
-- runs it and in which cgroup; nil: root, here.
local function sandbox_line(options, code, who)
  write("/srv/code", code .. "\n")
  local line = "lunette sandbox --timeout 120s --allow-read /srv %s -- sh /srv/code"
  line = line:format(options)
  if who then
    -- By path: busybox has one of the name, with fewer options.
    local as = "/usr/bin/setpriv --reuid %d --regid %d --clear-groups "
    line = as:format(who.user, who.user) .. line
  end
  local joins = ""
  if who and who.cgroup then
    -- As what a user's shell starts: the first sandbox moves the shell into a leaf.
    local leaf = who.cgroup .. "/lunette-engine"
    joins = ("base=%s; [ ! -d %s ] || base=%s; echo $$ >$base/cgroup.procs || exit 99; ")
      :format(who.cgroup, leaf, leaf)
  end
  write("/srv/run", ("cd /srv; %sexec %s\n"):format(joins, line))
  return "timeout -s KILL 150 sh /srv/run"
end

-- The exit code, and what the program and lunette said.
local function sandboxed(options, code, who, input)
  local line = sandbox_line(options, code, who)
  local said = popen(("%s %s 2>&1; echo $?"):format(line, input or "</dev/null"))
  local text, exit = said:match "^(.-)(%d+)\n$"
  return tonumber(exit), text
end

-- Four of its 64 MiB are in memory at once; forty processes; a processor's whole time.
local TAKER = "x=0123456789abcdef; for i in %s; do x=$x$x; done; echo ${#x}"
TAKER = TAKER:format(("i "):rep(22))
local FORKER = "for i in %s; do sleep 60 & done; echo all"
FORKER = FORKER:format(("i "):rep(40))
local LOOP = "while :; do :; done"

-- The sandboxes' cgroups below `base`.
local function cgroups_below(base)
  return popen(("find %s -type d -name '*.sandbox' 2>/dev/null"):format(base))
end

-- `--memory`, `--pids-limit`, `--cpus` of root's or a user's sandboxes, and that nothing is left.
local function prove_sandbox_limits(whose, base, who)
  local exit, said = sandboxed("", TAKER, who)
  local is_taken = exit == 0 and said == "67108864\n"
  proof(whose .. " takes 64 MiB where nothing forbids it", is_taken, said)
  exit, said = sandboxed("--memory 64m", TAKER, who)
  local is_killed = exit == 137 and not said:find "67108864"
  proof("--memory 64m: it is killed", is_killed, exit .. " " .. said)
  local why = "lunette: the sandbox ran out of memory: its limit is 64MiB (--memory)\n"
  proof("and lunette says why", said:find(why, 1, true), said)
  exit, said = sandboxed("--memory 64m --format json", TAKER, who)
  proof("in JSON too", said:find '"oom_killed":true', exit .. " " .. said)
  exit, said = sandboxed("--memory 200m", "echo enough", who)
  proof("what stays below isn't", exit == 0 and said == "enough\n", exit .. " " .. said)

  exit, said = sandboxed("", FORKER, who)
  local has_all = exit == 0 and said == "all\n"
  proof("forty processes are there without --pids-limit", has_all, said)
  exit, said = sandboxed("--pids-limit 20", FORKER, who)
  local is_held = exit ~= 0 and said:find "fork" and not said:find "all"
  proof("--pids-limit 20: a fork is refused", is_held, said)

  local line = sandbox_line("--cpus 0.2", LOOP, who)
  os.execute(line .. " </dev/null >/srv/said 2>&1 & echo $! >/srv/pid")
  local place
  eventually(function()
    place = cgroups_below(base):match "[^\n]+"
    return place and (figure(contents(place .. "/cpu.stat"), "nr_throttled") or 0) > 0
  end)
  place = place or "none"
  equal("--cpus 0.2: cpu.max is written", contents(place .. "/cpu.max"), "20000 100000\n")
  local throttled = figure(contents(place .. "/cpu.stat"), "nr_throttled") or 0
  proof("and a busy loop is throttled", throttled > 0, contents "/srv/said")
  os.execute "kill $(cat /srv/pid)"
  local is_gone = eventually(function() return cgroups_below(base) == "" end)
  proof("no cgroup of a sandbox is left", is_gone, cgroups_below(base))
end

-- Root's, those of a user to whom a cgroup was delegated, those of one who has none.
local function prove_sandboxes()
  os.execute "mkdir -p /srv; echo ann:x:1000:1000::/:/bin/sh >>/etc/passwd"
  local exit, said = sandboxed("", "echo up", nil, "")
  proof("a sandbox runs with the console as its input", said == "up\n", exit .. " " .. said)
  prove_sandbox_limits("root's sandbox", CGROUPS)

  local nobody = { user = 1000 }
  for _, limit in ipairs { "--memory 64m", "--cpus 0.5", "--cpuset-cpus 0" } do
    exit, said = sandboxed(limit, "echo ran", nobody)
    local is_refused = exit == 125 and said:find "no cgroup is delegated to this user"
    proof(limit .. " is an error where nobody holds it", is_refused, exit .. " " .. said)
  end
  exit, said = sandboxed("--pids-limit 20", FORKER, nobody)
  proof("(tasks the kernel counts for every user)", said:find "fork", exit .. " " .. said)

  -- As systemd delegates: the folder and these three files (cgroup-v2.rst, "Model of Delegation"),
  -- and not every controller.
  local users, given = "/sys/fs/cgroup/users", "+memory +cpu +pids"
  local base = users .. "/ann"
  os.execute(("mkdir %s; echo '%s' >%s/../cgroup.subtree_control"):format(users, given, users))
  os.execute(("mkdir %s; echo '%s' >%s/cgroup.subtree_control"):format(base, given, users))
  local files = "cgroup.procs cgroup.threads cgroup.subtree_control"
  os.execute(("cd %s && chown 1000:1000 . %s"):format(base, files))
  local user = { user = 1000, cgroup = base }
  prove_sandbox_limits("a user's sandbox", base, user)
  exit, said = sandboxed("--cpuset-cpus 0", "echo ran", user)
  local is_refused = exit == 125 and said:find "cpuset"
  proof("what wasn't delegated is an error there as well", is_refused, exit .. " " .. said)
  local left = popen(("find %s -mindepth 1 -type d"):format(base))
  equal("the user's cgroup has the leaf alone", left, base .. "/lunette-engine\n")
  os.execute(("find %s -depth -type d -exec rmdir {} +"):format(users))
end

prepare()
prove_root()
prove_limits()
prove_place()
prove_events()
prove_pause()
prove_adoption()
prove_sandboxes()
local left = popen(("find %s -mindepth 1 -type d 2>/dev/null"):format(CGROUPS))
proof("no container's cgroup is left", left == "", left)
print(("%d proofs, %d failed"):format(proofs, failures))
os.exit(failures == 0 and 0 or 1)
