std = "lua54"
max_line_length = 100
-- Handlers take arguments that not each of them reads.
unused_args = false
-- Plugins get the API's nouns as globals, scripts by require "lunette".
files["plugins"] = { read_globals = { "lunette", "log", "json", "fs", "store", "task", "storage", "process", "net", "test" } }
files["Sources/LunetteLua/Resources"] = { globals = { "lunette" }, max_line_length = false }
exclude_files = { ".build*", "dist" }
