std = "lua54"
max_line_length = 100
-- The Lua stdlib replaces coroutine functions by ones through which waits pass; docs and scripts use the command's globals.
files["Sources/LunetteLua/Resources/lua"] = {
    globals = { "coroutine", "next", "_G" }, ignore = { "122/coroutine" }, max_line_length = 140,
}
-- It puts a test's clock and a sink in the place of the process's.
files["Sources/LunetteLua/Resources/lua/capture.lua"] = { ignore = { "121", "122" } }
-- Plugins get the API as globals.
files["plugins"] = { read_globals = { "lunette", "log", "json", "fs", "store", "task", "storage", "process", "net" }, max_line_length = 140 }
-- It closes limited states by rewriting what their globals are.
files["Sources/LunetteLua/Resources/lua/limited.lua"] = { ignore = { "111", "112", "121", "122" }, max_line_length = 140 }
-- Written for editors: functions without bodies.
files["docs/types"] = { ignore = { "111", "112", "121", "131", "211", "212", "241", "631" } }
