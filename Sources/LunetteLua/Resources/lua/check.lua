-- `lunette check`: syntax, then the names and literal arguments of API calls, from the tokens alone. Nothing is run.
--
-- It follows `local lunette = require "lunette"`, `local image = lunette.image`, `local c = container.run{…}`, what is called on a call's
-- result and a handler's event, block by block; what it can't see through (a table built elsewhere, a name reassigned) it leaves to the
-- checks at run time.

local core = ...
local host_call = core.host.call
local tostring, tonumber, ipairs, next, setmetatable = tostring, tonumber, ipairs, next, setmetatable
local tokens_of, literals, scopes = core.need "check_tokens", core.need "check_literals", core.need "check_scopes"
local openers, closers, is_symbol, is_word = tokens_of.openers, tokens_of.closers, tokens_of.is_symbol, tokens_of.is_word
local skip_expression, parse_arguments = literals.skip_expression, literals.parse_arguments
local Walk, other = scopes.Walk, scopes.other

-- What limited states don't have.
local unlimited = {
  io = "io", os = "os", debug = "debug", package = "package", dofile = "dofile", loadfile = "loadfile",
}

function Walk:report(line, e)
  local problems = self.problems
  problems[#problems + 1] = { line = line, message = e.message, hint = e.hint, place = #problems }
end

-- Has one call looked at, and what is called on its result. What is in the arguments comes later, token by token.
function Walk:call(meaning, after)
  local tokens = self.tokens
  local values, stop = parse_arguments(tokens, after)
  local found = host_call("check.call", {
    kind = meaning.kind, noun = meaning.noun, verb = meaning.verb, arguments = values, is_call = values ~= nil,
    is_loading = self.is_resident and self.functions == 0 or nil,
  }) or {}
  for _, e in ipairs(found.problems or {}) do self:report(meaning.line, e) end
  if found.call then
    found.call.line = meaning.line
    self.calls[#self.calls + 1] = found.call
  end
  if not values then return end
  local is_registering = meaning.kind == "noun" and (meaning.noun == "before" or meaning.noun == "on")
  if is_registering and is_symbol(tokens[after], "(") then
    local index = after + 1
    while index < stop do
      if is_word(tokens[index], "function") then
        self.handlers[index] = { kind = "event", noun = meaning.noun, verb = values[1] }
      end
      index = skip_expression(tokens, index) + 1
    end
  end
  local given = meaning.verb and host_call("check.result", meaning.noun .. "." .. meaning.verb) or {}
  if given.handle and is_symbol(tokens[stop], ":") and tokens[stop + 1].kind == "name" then
    self:call({ kind = "method", noun = given.handle, verb = tokens[stop + 1].value, line = tokens[stop + 1].line }, stop + 2)
  end
end

-- A method of what a handler got.
function Walk:event_call(meaning, after)
  local values = parse_arguments(self.tokens, after)
  if not values then return end
  local event = meaning.event
  local found = host_call("check.event", {
    kind = event.noun, event = event.verb, verb = meaning.verb, arguments = values,
  })
  for _, e in ipairs(found.problems or {}) do self:report(meaning.line, e) end
end

-- The names before `=` of an assignment that begins at `at`; nil when it is none.
function Walk:targets(at)
  if self:top().kind == "{" then return nil end
  local tokens, names = self.tokens, {}
  while tokens[at].kind == "name" do
    names[#names + 1] = tokens[at].value
    if is_symbol(tokens[at + 1], "=") then return names end
    if not is_symbol(tokens[at + 1], ",") then return nil end
    at = at + 2
  end
end

-- What a word of Lua's does to the blocks; the next token, or nil when it is none of those.
function Walk:block(word, at)
  local tokens = self.tokens
  if word == "local" then
    if not is_word(tokens[at + 1], "function") then return self:declare(at + 1) end
    self:top().names[tokens[at + 2].value] = other
    self.is_local_function = true
    return at + 1
  elseif word == "for" then return self:loop(at + 1)
  elseif word == "function" then return self:enter(at)
  elseif word == "do" then
    self:push("do", self.loop_names)
    self.loop_names = nil
  elseif word == "if" or word == "repeat" then self:push(word)
  elseif word == "then" then self:push("then")
  elseif word == "else" then
    self:pop()
    self:push("then")
  elseif word == "elseif" then self:pop()
  elseif word == "end" or word == "until" then
    if self:pop().kind == "then" then self:pop() end
  else return nil end
  return at + 1
end

function Walk:name(at)
  local tokens, t = self.tokens, self.tokens[at]
  local before = tokens[at - 1]
  if before and (is_symbol(before, ".") or is_symbol(before, ":")) then return at + 1 end
  local next_at = self:block(t.value, at)
  if next_at then return next_at end
  local targets = self:targets(at)
  if targets then
    for _, word in ipairs(targets) do self:assign(word) end
    return at + 1
  end
  if self.is_resident and unlimited[t.value] and not self:lookup(t.value) and not is_symbol(tokens[at + 1], "=") then
    self:report(t.line, {
      message = "resident code has no " .. t.value, hint = "it has string, table, math, utf8, coroutine, and the API",
    })
  end
  if t.value == "lunette" and not self.has_globals and is_symbol(tokens[at + 1], ".") and not self:lookup "lunette" then
    self:report(t.line, { message = "lunette is no global of a script", hint = "local lunette = require \"lunette\"" })
    self.assigned.lunette = true -- once
  end
  local meaning, after = self:resolve(at)
  if not meaning then return at + 1 end
  if meaning.kind == "event method" then
    self:event_call(meaning, after)
    return after
  end
  if meaning.kind ~= "root" and meaning.kind ~= "handle" and meaning.kind ~= "event" then self:call(meaning, after) end
  return after
end

function Walk:run()
  local tokens, at = self.tokens, 1
  self:push "file"
  while tokens[at].kind ~= "end" do
    local last = self.pending[#self.pending]
    while last and last.stop <= at do
      for word, meaning in next, last.meanings do last.names[word] = meaning end
      self.pending[#self.pending] = nil
      last = self.pending[#self.pending]
    end
    local t = tokens[at]
    if t.kind == "name" then
      at = self:name(at)
    else
      if t.kind == "symbol" and openers[t.value] then self:push(t.value)
      elseif t.kind == "symbol" and closers[t.value] then self:pop() end
      at = at + 1
    end
  end
  table.sort(self.problems, function(a, b)
    if a.line ~= b.line then return a.line < b.line end
    return a.place < b.place
  end)
end

-- Checks a source; returns a list of {line, message, hint}, and one of the calls {line, name, permission}.
-- has_globals: the nouns are globals, as in resident code and in tests.
local function check(source, name, is_resident, has_globals)
  source = source:gsub("^#[^\n]*", "")
  -- In pieces, so that the time of the whole is bounded: Lua's parser takes quadratic time for some long sources.
  local f, problem = core.host.load(source, name, "t")
  if not f then
    local line, message = tostring(problem):match(":(%d+): (.*)$")
    return { { line = tonumber(line) or 1, message = message or problem } }, {}
  end
  local walk = setmetatable({
    tokens = tokens_of.tokenize(source), is_resident = is_resident, has_globals = has_globals,
    frames = {}, functions = 0, assigned = {}, globals = {}, pending = {}, handlers = {}, problems = {}, calls = {},
  }, Walk)
  if has_globals then
    for noun in next, core.need("library").globals do
      walk.globals[noun] = noun == "lunette" and { kind = "root" } or { kind = "noun", noun = noun }
    end
  end
  walk:run()
  return walk.problems, walk.calls
end

-- {source, name, is_resident, has_globals}: problems, calls
function core.entries.check(what) return check(what.source, what.name, what.is_resident, what.has_globals) end

return { check = check }
