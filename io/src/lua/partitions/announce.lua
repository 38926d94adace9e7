-- Announces a stream in a partition, or says that it is another one's (docs/protocol.md, Partitions). Guarantees:
--  * a stream is announced here only if its home is here, or if an announcement of it that is not finished lies here: so
--    no stream ever lives in two partitions, whatever its announcers know of the number of partitions;
--  * before it sends a stream on for the first time under a new number of partitions, it has gone through all its
--    announcements, page by page, and knows which streams stay here; until then all do;
--  * the token of this partition is no smaller than the highest of those that a stream was sent on from;
--  * a repeat with the same idempotency key answers the first one's entry.
-- KEYS: lbs layout staying token, and of an announcement with an idempotency key: once.
-- ARGV: service, this partition, the numbers of partitions that the caller knows of, the floor for the token or '', how
--       many announcements a page has, field, announcement, stream; with an idempotency key: window in ms.
-- Reply: the entry's id; or `{numbers of partitions, token}`: the stream is announced in its next home.
-- `layout` holds `is`, the numbers that this partition has told its streams apart for; and while it does so for more of
-- them `next`, the entry `at` which it is, and the last one of those that were there, `to`.
-- `staying` holds stream → n, and `<stream><MUTEX_KEY_SEP>1` to n: entries of it, of which those at the end may be
-- finished.
local lbs, layout, staying, tokens, once = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local service, me, theirs, floor, page = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], tonumber(ARGV[5])
local field, announcement, stream, window = ARGV[6], ARGV[7], ARGV[8], ARGV[9]

local function last(numbers) return tonumber(string.match(numbers, '%d+$')) end

-- The same as `partitions::home` in the core.
local function home(name, count)
  local tag = string.match(name, '^[^{]*{([^}]*)}')
  if tag and string.sub(tag, 1, #service + 1) == service .. ':' then
    local number = string.sub(tag, #service + 2)
    local partition = #number < 5 and string.match(number, '^%d+$') and tonumber(number)
    if partition and string.format('%d', partition) == number and partition < count then return partition end
  end
  return tonumber(string.sub(redis.sha1hex(name), 1, 8), 16) % count
end

local function slot(name, n) return name .. '<MUTEX_KEY_SEP>' .. string.format('%d', n) end

-- An announcement of this stream stays here until it is finished.
local function stay(name, entry)
  local n = redis.call('HINCRBY', staying, name, 1)
  redis.call('HSET', staying, slot(name, n), entry)
end

-- Whether one of those is not finished yet; those at the end that are, are forgotten.
local function stays(name)
  local n = tonumber(redis.call('HGET', staying, name) or 0)
  local before = n
  while n > 0 do
    local entry = redis.call('HGET', staying, slot(name, n))
    if entry and redis.call('XRANGE', lbs, entry, entry)[1] then break end
    redis.call('HDEL', staying, slot(name, n))
    n = n - 1
  end
  if n == 0 and before > 0 then
    redis.call('HDEL', staying, name)
  elseif n < before then
    redis.call('HSET', staying, name, n)
  end
  return n > 0
end

-- The name of the stream in an announcement, as our announcers write it; else as JSON says it. nil if it is none.
local function named(fields)
  for i = 1, #fields, 2 do
    if string.lower(fields[i]) == field then
      local json = fields[i + 1]
      local plain = string.match(json, '^{"DataStreamName":"([^"\\]+)"[,}]')
      if plain then return plain end
      local read, value = pcall(cjson.decode, json)
      if not read or type(value) ~= 'table' then return nil end
      for key, name in pairs(value) do
        if string.lower(key) == 'datastreamname' and type(name) == 'string' then return name end
      end
    end
  end
end

if once then
  local known = redis.call('GET', once)
  if known then return known end
end

local state = redis.call('HMGET', layout, 'is', 'next', 'at', 'to')
local is, following, at, to = state[1], state[2], state[3], state[4]
local most = following or is
if most and string.sub(most .. ' ', 1, #theirs + 1) ~= theirs .. ' '
  and string.sub(theirs .. ' ', 1, #most + 1) ~= most .. ' ' then
  return redis.error_reply('ERR PARTITIONS: their numbers were `' .. most .. '` as ' .. layout .. ' says, and `' .. theirs
    .. '` as the caller knows. One was lost or written by hand: write the true ones into {' .. service .. ':0}-partitions')
end
if not following and (not is or #theirs > #is) then
  local newest = redis.call('XREVRANGE', lbs, '+', '-', 'COUNT', 1)[1]
  following, at, to = theirs, '-', newest and newest[1] or '0-0'
  local set = redis.pcall('HSET', layout, 'next', following, 'at', at, 'to', to)
  if type(set) == 'table' then return set end
end
if following then
  local count, entries = last(following), redis.call('XRANGE', lbs, at, to, 'COUNT', page)
  for _, entry in ipairs(entries) do
    local name = named(entry[2])
    if name and home(name, count) ~= me then stay(name, entry[1]) end
  end
  if #entries < page then
    redis.call('HSET', layout, 'is', following)
    redis.call('HDEL', layout, 'next', 'at', 'to')
    is, following = following, nil
  else
    redis.call('HSET', layout, 'at', '(' .. entries[#entries][1])
  end
end

-- One that may be finished, whoever it is: so that in the end nothing is left of those that nobody announces again.
local some = redis.call('HRANDFIELD', staying)
if some and not string.find(some, '<MUTEX_KEY_SEP>', 1, true) then stays(some) end

local here = home(stream, last(following or is)) == me
if not here and not following and not stays(stream) then
  return {is, redis.call('GET', tokens) or ''}
end

if floor ~= '' then
  local token = redis.call('GET', tokens)
  if tonumber(floor) > tonumber(token or 0) then
    local set = redis.pcall('SET', tokens, floor)
    if type(set) == 'table' and set.err then return set end
  end
end
local entry = redis.pcall('XADD', lbs, '*', field, announcement)
if type(entry) == 'table' and entry.err then return entry end
if not here then stay(stream, entry) end
if once then redis.call('SET', once, entry, 'PX', window) end
return entry
