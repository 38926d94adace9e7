-- The application's own writes: tested before the first of them is made, so that a commit is all or nothing. It stands
-- in front of commit.lua. A write is `{name, key, args}`.

-- The type of key that a command needs. SET, DEL and PEXPIRE take any.
local NEEDS = {
  INCRBY = 'string', HSET = 'hash', HDEL = 'hash', HINCRBY = 'hash', SADD = 'set', SREM = 'set', ZADD = 'zset',
  ZREM = 'zset', RPUSH = 'list', XADD = 'stream',
}

-- Those that make no key where none is.
local REMOVES = {HDEL = true, SREM = true, ZREM = true}

-- More arguments than this cannot be unpacked: longer lists are written in parts. It is even, for pairs. An entry cannot
-- be written in parts: the caller sends none with as many fields.
local MOST = 6000

-- No stream has many ids left behind one of this time, in ms: the last that there is.
local LAST_MS = '18446744073709551615'

-- The sum of two whole numbers `{high, low}`, each high * 10^9 + low: Lua's own are exact up to 2^53 only. nil: it is no
-- number of 64 bits.
local function sum(a, b)
  local low = a[2] + b[2]
  local carry = math.floor(low / 1000000000)
  local high = a[1] + b[1] + carry
  low = low - carry * 1000000000
  if high > 9223372036 or high == 9223372036 and low > 854775807 then return nil end
  if high < -9223372037 or high == -9223372037 and low < 145224192 then return nil end
  return {high, low}
end

-- A text as such a number; nil: Redis would not count with it.
local function integer(text)
  if text == '0' then return {0, 0} end
  local sign, digits = string.match(text, '^(%-?)([1-9]%d*)$')
  if not sign or #digits > 19 then return nil end
  local high, low = tonumber(string.sub(digits, 1, -10)) or 0, tonumber(string.sub(digits, -9))
  if sign == '-' then high, low = -high, -low end
  return sum({high, low}, {0, 0})
end

-- What a key holds, by what stands in Redis and by the writes of this commit that were tested before. An error comes
-- second.
local function looked_at(keys, name)
  local key = keys[name]
  if not key then
    local found = redis.pcall('TYPE', name)
    if found.err then return nil, found.err end
    key = {type = found.ok, stored = found.ok ~= 'none', fields = {}}
    keys[name] = key
  end
  return key
end

-- Counts on: a value that is known, or one that Redis is asked for. Answers the sum, or what is wrong second.
local function count(known, by, ...)
  local value = known
  if known == nil then
    value = redis.pcall(...)
    if type(value) == 'table' then return nil, value.err end
  end
  if not value then value = '0' end
  if type(value) == 'string' then value = integer(value) end
  if not value then return nil, 'the value is not a whole number of 64 bits' end
  local counted = sum(value, integer(by))
  if not counted then return nil, 'the sum would not fit into 64 bits' end
  return counted
end

-- What each command does to what is known of its key. Answers what is wrong, if something is.
local EFFECTS = {
  SET = function(key, args)
    key.type, key.stored, key.value, key.fields = 'string', false, args[1], {}
  end,
  DEL = function(key)
    key.type, key.stored, key.value, key.fields = 'none', false, false, {}
  end,
  INCRBY = function(key, args, name)
    local known = key.value
    if known == nil and not key.stored then known = false end
    local counted, err = count(known, args[1], 'GET', name)
    key.value = counted
    return err
  end,
  HSET = function(key, args)
    for i = 1, #args, 2 do key.fields[args[i]] = args[i + 1] end
  end,
  HDEL = function(key, args)
    for i = 1, #args do key.fields[args[i]] = false end
  end,
  HINCRBY = function(key, args, name)
    local field = args[1]
    local known = key.fields[field]
    if known == nil and not key.stored then known = false end
    local counted, err = count(known, args[2], 'HGET', name, field)
    key.fields[field] = counted
    return err
  end,
  XADD = function(key, _, name)
    if not key.stored then return nil end
    local about = redis.pcall('XINFO', 'STREAM', name)
    if about.err then return about.err end
    for i = 1, #about, 2 do
      if about[i] == 'last-generated-id' and string.sub(about[i + 1], 1, #LAST_MS) == LAST_MS then
        return 'the stream has no ids left: its last one is ' .. about[i + 1]
      end
    end
  end,
}

-- Whether this user may make a write: what is wrong if not. Redis before 7 does not tell; see `tried`.
local function refused(write)
  if not redis.acl_check_cmd then return nil end
  local known, allowed = pcall(redis.acl_check_cmd, write.name, write.key)
  if not known then return 'the server does not know this command' end
  if not allowed then return 'NOPERM this user may not run it on this key: allow +' .. string.lower(write.name) end
end

-- Tests a write: what is wrong, or nil. `keys` are those that the commit's writes before it have touched.
local function test(keys, write)
  local err = refused(write)
  if err then return err end
  local key
  key, err = looked_at(keys, write.key)
  if err then return err end
  local needed = NEEDS[write.name]
  if needed and key.type ~= 'none' and key.type ~= needed then
    return 'WRONGTYPE the key holds a ' .. key.type .. ', not a ' .. needed
  end
  local effect = EFFECTS[write.name]
  err = effect and effect(key, write.args, write.key)
  if needed and key.type == 'none' and not REMOVES[write.name] then key.type = needed end
  return err
end

-- How a command is sent to the lease, which is a text, so that it changes nothing.
local TRIES = {
  SET = {'x', 'NX'}, PEXPIRE = {'x'}, INCRBY = {'1'}, HSET = {'f', 'v'}, HDEL = {'f'}, HINCRBY = {'f', '1'},
  SADD = {'m'}, SREM = {'m'}, ZADD = {'1', 'm'}, ZREM = {'m'}, RPUSH = {'v'}, XADD = {'*', 'f', 'v'},
}

-- On Redis before 7, which has no `acl_check_cmd`: whether this user may run the commands of these writes. Answers the
-- number of the first that it may not, and what is wrong. Only for once something was written: a command that takes
-- memory could be refused for want of it before.
local function tried(writes, lease)
  if redis.acl_check_cmd then return nil end
  local seen = {}
  for i, write in ipairs(writes) do
    local name = write.name
    if not seen[name] then
      local answer
      if name == 'DEL' then
        answer = redis.pcall('DEL', KEYS[#KEYS]) -- where nothing is
      else
        answer = redis.pcall(name, lease, unpack(TRIES[name] or {}))
      end
      local err = type(answer) == 'table' and answer.err or ''
      if string.find(err, 'user executing the script', 1, true) then
        return i, 'NOPERM this user may not run it: allow +' .. string.lower(name)
      end
      if string.find(err, 'Unknown Redis command', 1, true) then
        return i, 'the server does not know this command'
      end
      seen[name] = true
    end
  end
end

-- Makes a write. Answers an error that nobody has foreseen.
local function make(write)
  local name, key, args = write.name, write.key, write.args
  for first = 1, math.max(#args, 1), MOST do
    local answer = redis.pcall(name, key, unpack(args, first, math.min(first + MOST - 1, #args)))
    if type(answer) == 'table' and answer.err then return answer.err end
  end
end
