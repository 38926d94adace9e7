-- Shared by the scripts of both halves that need a prelude: it stands in front of that.

-- A whole number as Redis is to store it: Lua would write 1.79e+15. In two parts, since on 32 bits `%d` holds no more
-- than nine digits for sure; `%.0f` takes three times as long.
local function whole(number)
  if number < 100000000 then return string.format('%d', number) end
  return string.format('%d%08d', math.floor(number / 100000000), number % 100000000)
end

-- Microseconds since 1970 by Redis's clock. It goes on inside a script; only expiry is judged by when the script began.
local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- The one pending entry `{id, consumer, idle, deliveries}` of this id, or nil; or an error.
local function pending(stream, group, entry)
  local found = redis.pcall('XPENDING', stream, group, entry, entry, 1)
  if found.err then return nil, found end
  return found[1]
end

-- Redis before 7 claims entries whose payload is gone, and keeps them pending; it does not tell scripts its version.
local OLD = not redis.REDIS_VERSION_NUM

-- The fields of an entry as a flat list, or nil if its payload is not there.
local function payload(stream, entry)
  local found = redis.call('XRANGE', stream, entry, entry)
  return found[1] and found[1][2]
end

-- Whether an entry that was claimed has no payload any more. Then it is pending no more, as Redis 7 sees to by itself.
local function emptied(stream, group, entry)
  if not OLD or payload(stream, entry) then return false end
  redis.call('XACK', stream, group, entry)
  return true
end

