-- The functions of `lunette` that register something. They stay with who has named them, and what they are made of doesn't; a script that
-- names nothing else never loads the rest (library.lua). It keeps nothing (core.lua, `keeps_nothing`).

local core = ...

return {
  lifecycle = function(name, program) return core.need("subscriptions").lifecycle(name, program) end,
  events = function(options) return core.need("subscriptions").events(options) end,
  on = function(...) return core.need("subscriptions").on(...) end,
  before = function(...) return core.need("subscriptions").before(...) end,
  socket = function(...) return core.need("socket").declare(...) end,
}
