#!/usr/bin/env lunette
-- A pod in one minute: a web server and a sidecar that share network, ipc and processes. The
-- sidecar reads a page over 127.0.0.1 and sees its process; then the pod goes, with its members.
-- Needs root and the package busybox-static. See docs/pods.md.
local lunette = require "lunette"
local image, container, volume, fs = lunette.image, lunette.container, lunette.volume, lunette.fs
local task = lunette.task

local BUSYBOX = arg[1] or "/bin/busybox"
local IMAGE, POD, VOLUME = "lunette.example/pod:1", "example-pod", "example-pod-pages"

local function say(format, ...) print(string.format(format, ...)) end

-- An earlier run that was killed may have left its pod and volume: start from none.
local function clean_up()
  local pod = container.find(POD)
  if pod then pod:remove { force = true } end
  local pages = volume.find(VOLUME)
  if pages then pages:remove() end
end

local function build()
  if not fs.exists(BUSYBOX) then
    error("no busybox at " .. BUSYBOX .. ": install Debian's busybox-static, or name another", 0)
  end
  return image.build {
    tag = IMAGE, from = "scratch",
    copy = { { from = BUSYBOX, to = "/bin/busybox", mode = "0755" } },
    run = {
      { "/bin/busybox", "mkdir", "-p", "/tmp", "/www" },
      { "/bin/busybox", "--install", "-s", "/bin" },
    },
  }
end

local function run()
  -- The pod itself: no image and no program, only namespaces and one small process to hold them.
  local pod = container.run { name = POD, pod = true }
  say("pod       %s, process %d", POD, pod:inspect().pid)

  -- Members: `pod` shares network and ipc; processes are shared by those that say so.
  local pages = { { type = "volume", source = VOLUME, target = "/www" } }
  local server = container.run {
    name = POD .. "-server", image = IMAGE, pod = POD, pid = "container:" .. POD, mounts = pages,
    args = { "sh", "-c", [[
      echo hello from the pod > /www/index.html
      exec httpd -f -p 8080 -h /www
    ]] },
  }
  local sidecar = container.run {
    name = POD .. "-sidecar", image = IMAGE, pod = POD, pid = "container:" .. POD, mounts = pages,
    args = { "sleep", "600" },
  }

  local page
  task.timeout("20s", function()
    repeat
      local answer = sidecar:exec { "wget", "-qO-", "http://127.0.0.1:8080/" }
      page = answer.stdout
      if answer.code ~= 0 then task.sleep("50ms") end
    until answer.code == 0
  end)
  say("network   the sidecar reads over 127.0.0.1: %s", (page:gsub("%s+$", "")))
  local seen = sidecar:exec({ "sh", "-c", "ps | grep -c '[h]ttpd -f'" }, { check = true }).stdout
  say("processes the sidecar sees the server: %s", tonumber(seen) > 0 and "yes" or "no")
  say("host name %s", (sidecar:exec({ "hostname" }, { check = true }).stdout:gsub("%s+$", "")))
  local first, same = pod:inspect().id_range.first, true
  for _, c in ipairs { server, sidecar } do same = same and c:inspect().id_range.first == first end
  say("ids       one range for all: %s", same and "yes" or "no")

  -- Who holds what others need can't be taken away from below them.
  local _, err = lunette.try(pod.remove, pod)
  say("refused   %s", err.code)
  pod:stop { grace_period = "2s" }
  say("stopped   pod %s, server %s, sidecar %s", pod:inspect().status, server:inspect().status,
    sidecar:inspect().status)
end

clean_up()
build()
local ok, err = lunette.try(run)
clean_up()
local made = image.find(IMAGE)
if made then image.remove(made) end
if not ok then error(err, 0) end
say("removed   the pod and its containers")
