std = "lua54"
max_line_length = 100
-- The Lua stdlib replaces coroutine functions by ones through which waits pass; docs and scripts use the command's globals.
files["Sources/LunetteLua/Resources/lua"] = {
    globals = { "coroutine", "_G" }, ignore = { "122/coroutine" }, max_line_length = 140,
}
-- Plugins get the API as globals.
files["plugins"] = { read_globals = { "lunette", "log", "json", "fs", "store", "task", "storage", "process", "net" }, max_line_length = 140 }
-- The Lua stdlib replaces coroutine functions by ones through which waits pass, and closes limited states.
files["Sources/LunetteLua/Resources/lua"] = { max_line_length = 130, globals = { "coroutine", "_G" }, ignore = { "122/coroutine" } }
files["Sources/LunetteLua/Resources/lua/limited.lua"] = { max_line_length = 130, ignore = { "111", "112", "121", "122" } }
