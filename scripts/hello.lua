#!/usr/bin/env lunette
-- Lunette in one minute: builds an image from Debian's busybox, runs three containers on one
-- volume, shows a hook denying a fourth, prints what there is, and leaves nothing behind.
-- Needs root and the package busybox-static. See docs/scripts.md.
local lunette = require "lunette"
local image, container, volume, fs = lunette.image, lunette.container, lunette.volume, lunette.fs

local BUSYBOX = arg[1] or "/bin/busybox"
local IMAGE, VOLUME = "lunette.example/hello:1", "hello-data"

local function say(format, ...) print(string.format(format, ...)) end

-- Rows of strings below a head, each column as wide as its widest cell.
local function print_table(head, rows)
  local widths = {}
  for _, row in ipairs { head, table.unpack(rows) } do
    for column, cell in ipairs(row) do widths[column] = math.max(widths[column] or 0, #cell) end
  end
  for _, row in ipairs { head, table.unpack(rows) } do
    local cells = {}
    for column, cell in ipairs(row) do cells[column] = cell .. (" "):rep(widths[column] - #cell) end
    print((table.concat(cells, "  "):gsub("%s+$", "")))
  end
end

-- An earlier run that was killed may have left its containers and volume: start from none.
local function clean_up()
  for _, c in ipairs(container.list { all = true, labels = { example = "hello" } }) do
    c:remove { force = true }
  end
  local v = volume.find(VOLUME)
  if v then v:remove() end
  if image.find(IMAGE) then image.remove(IMAGE) end
end

if not fs.exists(BUSYBOX) then
  error("no busybox at " .. BUSYBOX .. ": install Debian's busybox-static, or name another", 0)
end
clean_up()

-- One file is enough for an image; `run` steps run in it.
local img = image.build {
  tag = IMAGE,
  from = "scratch",
  copy = { { from = BUSYBOX, to = "/bin/busybox", mode = 493 } }, -- 0755
  run = { { "/bin/busybox", "--install", "-s", "/bin" }, "mkdir -p /tmp /data /etc /root" },
  config = { cmd = { "/bin/sh" }, env = { PATH = "/bin", GREETING = "hello" }, workdir = "/" },
}
local built = img:inspect()
say("built     %s  %s  %.1f MB", IMAGE, built.digest:sub(1, 19), built.size / 1e6)

local data = volume.create(VOLUME)

-- Three containers, each adds a line to the volume and says what it found there.
local names = { "hello-1", "hello-2", "hello-3" }
for number, name in ipairs(names) do
  local c = container.run {
    name = name,
    image = IMAGE,
    args = { "sh", "-c", [[
      echo "$GREETING from $(hostname), number $NUMBER" >>/data/greetings
      cat /data/greetings
    ]] },
    env = { NUMBER = tostring(number) },
    hostname = name,
    labels = { example = "hello" },
    mounts = { { type = "volume", source = VOLUME, target = "/data" } },
    resources = { memory = "32MiB", pids = 16 },
  }
  local exit = c:wait { timeout = "30s" }
  local _, lines = c:logs():gsub("\n", "")
  say("ran       %s  exit code %d  it read %d line(s)", name, exit.code, lines)
end

-- From here on no container may be created that asks for less isolation.
local guard = lunette.before("container.create", {
  name = "no-privilege", timeout = "5s", on_failure = "deny",
}, function(ev)
  if ev.spec.security and ev.spec.security.privileged then
    ev:deny("privileged containers are not allowed here")
  end
end)
local created, why = lunette.try(container.create, {
  name = "hello-4", image = IMAGE, labels = { example = "hello" }, security = { privileged = true },
})
guard:off()
assert(not created and why:is "denied", "the hook must deny the fourth container")
say("hook      hello-4 %s: %s", why.code, why.message)
assert(not container.find "hello-4", "nothing of the fourth container may exist")

print()
local rows = {}
for _, name in ipairs(names) do
  local it = container.get(name):inspect()
  local took = it.exit.finished_at - it.started_at
  rows[#rows + 1] = {
    it.name, it.status, tostring(it.exit.code), ("%.0f ms"):format(took * 1000), VOLUME,
  }
end
print_table({ "NAME", "STATUS", "EXIT", "RAN FOR", "VOLUME" }, rows)
print()

local last = container.get("hello-3"):logs()
say("volume    %s holds:", data.name)
io.write((last:gsub("([^\n]*)\n", "            %1\n")))

clean_up()
assert(#container.list { all = true, labels = { example = "hello" } } == 0)
say("cleaned   no container, volume or image of this script is left")
