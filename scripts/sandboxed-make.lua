#!/usr/bin/env lunette
-- Builds a source tree that nobody has read: make sees compilers and the tree, writes the tree
-- alone, reaches no network, and is killed after a time. Says what it asked for beside that.
-- usage: sandboxed-make.lua [FOLDER] [TARGET…]      See docs/sandbox.md.
local lunette = require "lunette"
local sandbox = lunette.sandbox

local folder = arg[1] or "."
local args = { "make", "-C", folder }
for index = 2, #arg do args[#args + 1] = arg[index] end

local result = sandbox.run {
  args = args,
  allow_write = { folder },
  workdir = folder:sub(1, 1) == "/" and folder or nil,
  resources = { memory = "2GiB", pids = 500 },
  best_effort = true, -- an ordinary user's memory is held for each process where no cgroup is given
  timeout = "10m",
  stdout = "inherit",
  stderr = "inherit",
  report = true,
}

for _, access in ipairs(result.denied) do
  local field, value = next(access.rule)
  local wish = access.action .. " " .. access.path
  print(("asked to %s: %s = { %q } would allow it"):format(wish, field, value))
end
for _, what in ipairs(result.not_enforced) do print("here " .. what) end
os.exit(result.code)
