-- Runs in the guest of scripts/dev/test-in-vm: containers with limits where cgroup v2 is all
-- there is.
local lunette = require "lunette"
local container, image, volume = lunette.container, lunette.image, lunette.volume

local failures = 0
local function check(what, ok, found)
  print(string.format("%-52s %s", what, ok and "ok" or "FAILED: " .. tostring(found)))
  if not ok then failures = failures + 1 end
end

local function run(spec)
  spec.image = "vm:1"
  local c = container.run(spec)
  local exit = c:wait { timeout = "60s" }
  local logs = c:logs()
  local info = c:inspect()
  c:remove()
  return exit, logs, info
end

image.build {
  tag = "vm:1",
  copy = { { from = "/bin/busybox", to = "/bin/busybox", mode = 493 } },
  run = { "/bin/busybox --install -s /bin", "mkdir -p /tmp /etc" },
  config = { env = { PATH = "/bin" } },
}
local exit, logs = run { args = { "echo", "hello" } }
check("a container runs", exit.code == 0 and logs == "hello\n", exit.code .. " " .. logs)

local _
_, logs = run {
  args = { "sh", "-c", "cd /sys/fs/cgroup && cat memory.max pids.max cpu.max" },
  resources = { memory = "64MiB", pids = 20, cpus = 0.5 },
}
check("its limits are in force and seen inside", logs == "67108864\n20\n50000 100000\n", logs)

local eater = "x=0123456789abcdef; while true; do x=$x$x; done"
exit = run { args = { "sh", "-c", eater }, resources = { memory = "24MiB" } }
check("a memory limit ends it, and is named", exit.oom_killed and exit.reason == "oom", exit.reason)

local forker = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait"
exit, logs = run { args = { "sh", "-c", forker }, resources = { pids = 5 } }
check("a pids limit holds", logs:find("fork", 1, true) ~= nil or exit.code ~= 0, logs)

local c = container.run { image = "vm:1", name = "paused", args = { "sleep", "1000" } }
c:pause()
check("it is paused", c:inspect().status == "paused", c:inspect().status)
c:resume()
check("exec joins it", c:exec({ "hostname" }).code == 0)
check("its memory is counted", c:stats().memory.used > 0)
c:update { resources = { memory = "96MiB" } }
local limit = c:exec({ "cat", "/sys/fs/cgroup/memory.max" }).stdout
check("its limit is changed", limit == "100663296\n", limit)
c:remove { force = true }

volume.create("v")
local mounts = { { type = "volume", source = "v", target = "/data" } }
run { args = { "sh", "-c", "echo kept >/data/f" }, mounts = mounts }
exit, logs = run { args = { "cat", "/data/f" }, mounts = mounts }
check("a volume keeps what was written", exit.code == 0 and logs == "kept\n", logs)
volume.remove("v")

os.exit(failures == 0 and 0 or 1)
