-- The module of each entry that is loaded when the host first calls it. It keeps nothing (core.lua, `keeps_nothing`).

return {
  block = "blocking",
  run = "script", interrupt = "script", deadlock = "script", policy = "plugin",
  load_plugin = "plugin", call_plugin = "plugin", cancel_plugin_call = "replies",
  load_resident = "resident", resident_life = "life",
  hook = "hooks", hook_batch = "hooks", check = "check", repl_line = "repl", complete = "repl",
  repl_watch = "repl", repl_tasks = "repl", repl_events = "repl", repl_leave = "repl", repl_script = "repl",
  repl_watched = "repl", test_file = "test_run", test_call = "test_answers",
  test_answered = "test_answers", test_program = "test_answers", test_stuck = "test_answers", test_log = "test_answers",
  lines_of = "lines",
  repl_inside = "repl", repl_globals = "repl", prompt_ask = "prompt", prompt_complete = "prompt",
}
