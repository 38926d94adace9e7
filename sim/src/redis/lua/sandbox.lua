-- The world of a script: only known globals, none to be made, random numbers that repeat, and errors of redis.call as
-- Redis has them where they are caught. Answers the globals, and the function that runs a script.
local redis, cjson, draw, explain, handler = ...

-- As Redis does it: whoever catches an error by pcall finds its text.
local function reread(ok, ...)
  if ok then return true, ... end
  local err = explain((...))
  if type(err) == 'table' and err.err then err = err.err end
  return false, err
end

local xpcall_here, pcall_here = xpcall, pcall

local known = {
  _VERSION = _VERSION, assert = assert, cjson = cjson, collectgarbage = collectgarbage, coroutine = coroutine,
  error = error, gcinfo = gcinfo, getmetatable = getmetatable, ipairs = ipairs, load = load, loadstring = loadstring,
  math = math, next = next, pairs = pairs, rawequal = rawequal, rawget = rawget, rawset = rawset, redis = redis,
  select = select, setmetatable = setmetatable, string = string, table = table, tonumber = tonumber,
  tostring = tostring, type = type, unpack = unpack,
}

function known.pcall(f, ...)
  return reread(pcall_here(f, ...))
end

function known.xpcall(f, on_error)
  return xpcall_here(f, function(err) return on_error(explain(err)) end)
end

function math.random(low, high)
  local drawn = draw()
  if not low then return drawn end
  if not high then low, high = 1, low end
  if low > high then error('bad argument to \'random\' (interval is empty)', 2) end
  return math.floor(drawn * (high - low + 1)) + low
end

function math.randomseed() end

setmetatable(known, {
  __index = function(_, name)
    error('Script attempted to access nonexistent global variable \'' .. tostring(name) .. '\'', 2)
  end,
})

local globals = setmetatable({}, {
  __index = known,
  __newindex = function() error('Attempt to modify a readonly table', 2) end,
})
known._G = globals

local function run(script, keys, args)
  known.KEYS, known.ARGV = keys, args
  return xpcall_here(script, handler)
end

return globals, run
