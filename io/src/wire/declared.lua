-- In front of every script while it is tested (script.rs): it may touch no key that it was not given, as some servers
-- demand, and a cluster needs.
local redis = (function(server)
  local declared = {}
  for _, key in ipairs(KEYS) do declared[key] = true end
  local none = {TIME = true, INFO = true, PUBLISH = true}
  local second = {XINFO = true, XGROUP = true}
  local all = {MGET = true, DEL = true, EXISTS = true}
  local function check(name, ...)
    name = string.upper(name)
    if none[name] then return end
    local n = select('#', ...)
    -- XREADGROUP … STREAMS key id
    local first = name == 'XREADGROUP' and n - 1 or second[name] and 2 or 1
    for i = first, all[name] and n or first do
      local key = select(i, ...)
      if not declared[key] then error('undeclared key of ' .. name .. ': ' .. tostring(key)) end
    end
  end
  local guarded = {
    call = function(...)
      check(...)
      return server.call(...)
    end,
    pcall = function(...)
      check(...)
      return server.pcall(...)
    end,
  }
  return setmetatable(guarded, {__index = server})
end)(redis)
