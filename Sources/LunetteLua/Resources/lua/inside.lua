-- A prompt whose lines run inside resident code: the engine is asked, over the call script.evaluate.

local core = ...
local fail, next, load = core.fail, next, load
local nouns = core.need "nouns"

local inside = {}

-- {target, only_reads}; print: writes a line to the terminal
function inside.new(what, print)
  local target, only_reads = what.target, what.only_reads == true
  local id = core.host.call "unique"
  local engine                   -- which engine has the session

  local function call(question)
    local arguments = { target = target, session = id, only_reads = only_reads }
    for key, value in next, question do arguments[key] = value end
    local stream <close> = nouns.open_stream("script.evaluate", arguments, nouns.where())
    for text in function() return stream:next() end do print(text) end
    return stream.result
  end

  local function open()
    local answer = call { ask = "open" }
    engine = answer.engine
    return answer
  end

  -- The session's state is gone with the version of the code that it belonged to.
  local function ask(question)
    local answer = call(question)
    if answer.status ~= "changed" then return answer end
    local was = engine
    open()
    if was ~= engine then
      fail("conflict", "the connection to the engine was lost: this session is a new one, and the line was not repeated", {
        hint = "it may have run, or not; the session's locals are gone",
      })
    end
    print(target .. " has a new version: this goes on in it, without the locals of the session")
    return call(question)
  end

  local function text_of(answer)
    if answer.status == "failed" then
      fail(answer.error.code or "script_failed", answer.error.message, { hint = answer.error.hint, point = answer.error.point })
    end
    return answer.text
  end

  local self = {}

  function self.open()
    local answer = open()
    local what_it_is = answer.kind == "plugin" and "the plugin " .. target or "the resident script " .. answer.file
    print("inside " .. what_it_is .. (only_reads and ", only reading" or "") .. ": its globals, its limits, its permissions")
  end

  -- {source, is_last, as_json, width, has_colour}
  function self.line(line)
    local f, problem = load("return " .. line.source, "=repl", "t")
    if not f then f, problem = load(line.source, "=repl", "t") end
    if not f and problem:sub(-5) == "<eof>" and not line.is_last then return "incomplete" end
    core.result_text = function(results) return results[1] end
    core.start_main(function()
      return text_of(ask { ask = "chunk", source = line.source, as = line.as_json and "json" or "lines", width = line.width,
        has_colour = line.has_colour })
    end)
  end

  function self.watched(what_is_watched)
    return function()
      return text_of(ask { ask = "chunk", source = what_is_watched.source, as = "screen", width = what_is_watched.width }) or "nil"
    end
  end

  function self.tasks() return ask({ ask = "tasks" }).lines or {} end
  function self.close() call { ask = "close" } end

  function self.complete(word)
    return nouns.plumbing("script", "complete") { target = target, session = id, text = word.text, line = word.line }
  end

  return self
end

return inside
