std = "lua54"
max_line_length = 130
-- The Lua stdlib replaces coroutine functions by ones through which waits pass; docs and scripts use the command's globals.
files["Sources/LunetteLua/Resources/lua"] = { globals = { "coroutine", "_G" }, ignore = { "122/coroutine" } }
