-- Owns a batch of announcements (DESIGN 5.2). Guarantees:
--  * nothing is granted on a server that the fleet, or the caller, has not settled on;
--  * one owner at a time: not while the lease key exists, not while the stream's record names another announcement
--    whose lease key exists, not while the heartbeat of the record's owner, whichever of them it owns, is younger than
--    its ttl;
--  * each grant has a greater token than any before it in this service;
--  * asked again with the same attempt, it answers the same token and starts the ttl anew;
--  * a stream whose owners keep crashing is delayed, then set aside, in the same step;
--  * each item is judged by itself; if the call answers an error, nothing was granted.
-- KEYS: lbs fences token epoch dead, then for each item: its lease, and the lease of the other announcement that the
--       record may name (its own again if none is known).
-- ARGV: group, consumer, ttl in ms, identity of the server or '', floor, max takeovers (0: no limit), cap of S-dead or
--       '', then for each item: entry, stream, attempt, the other announcement or '', or `+` if it was handed to this
--       consumer just now, for the first time.
-- Reply: the status `epoch`, or for each item one of `granted <token> <takeover 0/1> <takeovers> <failures>
--       <deliveries>`, `gone`, `trimmed`, `held <ms>`, `busy <ms>`, `other <entry>`, `aside <takeovers>`,
--       `broken <error>`.
local lbs, fences, tokens, epoch, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local group, me, ttl, caller, floor = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local max_takeovers, cap = tonumber(ARGV[6]), ARGV[7]
local items = (#ARGV - 7) / 4

local settled, here = settled_on(epoch), identity()
if not settled or (here ~= '' and settled ~= here) or (caller ~= '' and caller ~= settled) then
  return redis.status_reply('epoch')
end

local now_us = clock()
local now = math.floor(now_us / 1000)
if floor > now_us + 86400000000 then
  return redis.error_reply('ERR floor ' .. ARGV[5] .. ' is more than a day ahead of the clock of Redis (' ..
    whole(now_us) .. '): a token is microseconds since 1970; correct the clock or the floor')
end

-- A service in which some stream has lived long works in principle: crashes are then the fault of the stream.
local vital = redis.call('HMGET', epoch, 'lived', 'ttl')
local longest = math.max(tonumber(vital[2] or 0) or 0, ttl)
local works = now - (tonumber(vital[1] or 0) or 0) < 2 * longest

local records, holders = {}, {}
for from = 1, items, 1000 do
  local names, leases = {}, {}
  for i = from, math.min(from + 999, items) do
    names[#names + 1] = ARGV[4 * i + 5]
    leases[#leases + 1] = KEYS[2 * i + 4]
  end
  local found, held = redis.call('HMGET', fences, unpack(names)), redis.call('MGET', unpack(leases))
  for i = 1, #names do records[from + i - 1], holders[from + i - 1] = found[i], held[i] end
end

local out, grants, claims, asides, leftovers, failed = {}, {}, {}, {}, {}, nil
local news = {} -- those that nobody has ever owned, handed to us just now: nothing to look at but whether they stand
local given = {} -- stream: the entry that this batch grants

-- How many ownerships in a row have ended in a crash, if the record's owner has crashed.
local function crashes(record, idle)
  if not record or record.released then return 0 end
  if now - idle - record.gained >= 20 * record.ttl then return 0 end
  return record.takeovers + 1
end

-- How long a stream that kills its owners is still to be left alone; or that it is to be set aside.
local function suspect(record, mine, idle, takeovers)
  local half = math.max(1, math.ceil(max_takeovers / 2))
  if max_takeovers == 0 or takeovers < half then return 0 end
  if takeovers >= max_takeovers and works then return nil end
  local wait = 60000
  if takeovers < max_takeovers then wait = math.min(1000 * 2 ^ (takeovers - half), 60000) end
  if mine then return record.ttl + wait - idle end
  return record.gained + record.ttl + wait - now
end

local function judge(i, entry, stream, value, other, lease, other_lease)
  local record = read_record(records[i])
  if record == false then return BROKEN_RECORD end
  local holder = holders[i] -- false if the key is absent, or of a wrong type
  local p, err = pending(lbs, group, entry)
  if err then
    failed = err
    return
  end
  local mine = record and record.entry == entry
  if not p then
    if holder == value or (mine and not holder) then
      leftovers[#leftovers + 1] = {entry = entry, lease = holder and lease, stream = mine and stream}
    end
    return 'gone'
  end
  local idle, deliveries = p[3], p[4]
  if holder == value and mine and record.value == value and not record.released then
    claims[#claims + 1] = entry
    grants[#grants + 1] = {lease = lease}
    local taken = record.takeovers + record.failures > 0 or deliveries > 1
    return string.format('granted %s %s %d %d %d', whole(record.token), taken and '1' or '0', record.takeovers,
      record.failures, deliveries)
  end
  if record and record.not_before > now then return 'held ' .. whole(record.not_before - now) end
  if given[stream] then return (given[stream] == entry and 'held ' or 'busy ') .. whole(ttl) end
  if record and not mine then
    if other ~= record.entry then return 'other ' .. record.entry end
    local left = redis.call('PTTL', other_lease)
    if left ~= -2 then return 'busy ' .. whole(left < 0 and ttl or math.max(left, 1)) end
    local its = not record.released and pending(lbs, group, record.entry)
    if its and its[3] < record.ttl then return 'busy ' .. whole(record.ttl - its[3]) end
  end
  if holder then
    local left = redis.call('PTTL', lease)
    return 'held ' .. whole(left < 0 and ttl or math.max(left, 1))
  end
  if mine and not record.released and idle < record.ttl then return 'held ' .. whole(record.ttl - idle) end
  local takeovers = crashes(record, mine and idle or 0)
  local left = suspect(record, mine, idle, takeovers)
  local failures = record and record.failures or 0
  if not left then
    local fields = payload(lbs, entry)
    if not fields then return 'trimmed' end
    asides[#asides + 1] = {
      i = i, lbs = lbs, group = group, dead = dead, cap = cap, entry = entry, stream = stream, reason = 'crash-loop',
      error = whole(takeovers) .. ' owners in a row crashed', consumer = p[2], takeovers = takeovers,
      failures = failures, deliveries = deliveries, at_ms = now, fields = fields,
    }
    return 'aside ' .. whole(takeovers)
  end
  if left > 0 then return 'held ' .. whole(left) end
  given[stream] = entry
  claims[#claims + 1] = entry
  grants[#grants + 1] = {
    i = i, lease = lease, stream = stream, taken = mine or p[2] ~= me, deliveries = deliveries,
    record = {
      entry = entry, ttl = ttl, gained = now, released = false, takeovers = takeovers, failures = failures,
      not_before = 0, value = value,
    },
  }
end

for i = 1, items do
  local at = 4 * i + 3
  local entry, stream = ARGV[at + 1], ARGV[at + 2]
  if ARGV[at + 4] == '+' and not records[i] and not holders[i] and not given[stream] then
    given[stream] = entry
    claims[#claims + 1] = entry
    news[#news + 1] = i
  else
    out[i] = judge(i, entry, stream, me .. '#' .. ARGV[at + 3], ARGV[at + 4], KEYS[2 * i + 4], KEYS[2 * i + 5])
  end
  if failed then return failed end
end

-- From here on it writes. The service's token goes first: refused (OOM), it ends the call with nothing changed.
local last = redis.call('GET', tokens)
local token = tonumber(last or 0)
if not token or token > 9e15 then
  return redis.error_reply('ERR ' .. tokens .. ' holds ' .. last .. ', which is no token: set it to the microseconds since 1970')
end
token = math.max(token + 1, now_us, floor + 1) - 1
local fresh = #news
for _, grant in ipairs(grants) do
  if grant.record then fresh = fresh + 1 end
end
if fresh > 0 then
  local set = redis.pcall('SET', tokens, whole(token + fresh))
  if set.err then return set end
end
-- The entries next: one whose payload was trimmed away is not claimed, and then not granted.
local missing = {}
for from = 1, #claims, 4000 do
  local till = math.min(from + 3999, #claims)
  local claim = {unpack(claims, from, till)}
  claim[#claim + 1] = 'JUSTID'
  local claimed = redis.pcall('XCLAIM', lbs, group, me, 0, unpack(claim))
  if claimed.err then return claimed end
  if #claimed < till - from + 1 then
    for at = from, till do missing[claims[at]] = true end
    for _, entry in ipairs(claimed) do missing[entry] = nil end
  end
  if OLD then
    for _, entry in ipairs(claimed) do missing[entry] = emptied(lbs, group, entry) or nil end
  end
end
-- A lease key that cannot be set: somebody's, or of a wrong type, which MGET does not tell.
local function refused(lease)
  local look = redis.pcall('GET', lease)
  return type(look) == 'table' and 'broken ' .. look.err or 'held ' .. whole(ttl)
end

local hset = {}
local gained = ' ' .. ARGV[3] .. ' ' .. whole(now) .. ' 0 0 0 0 ' -- of a record, between entry and value
for _, i in ipairs(news) do
  local entry, value, lease = ARGV[4 * i + 4], me .. '#' .. ARGV[4 * i + 6], KEYS[2 * i + 4]
  if missing[entry] then
    out[i] = 'gone'
  elseif redis.call('SET', lease, value, 'PX', ttl, 'NX') then
    token = token + 1
    hset[#hset + 1] = ARGV[4 * i + 5]
    local text = whole(token)
    hset[#hset + 1] = text .. ' ' .. entry .. gained .. value
    out[i] = 'granted ' .. text .. ' 0 0 0 1'
  else
    out[i] = refused(lease)
  end
end
for _, grant in ipairs(grants) do
  local r = grant.record
  if not r then
    redis.call('PEXPIRE', grant.lease, ttl)
  elseif missing[r.entry] then
    out[grant.i] = 'trimmed'
  elseif redis.call('SET', grant.lease, r.value, 'PX', ttl, 'NX') then
    token = token + 1
    r.token = token
    hset[#hset + 1] = grant.stream
    hset[#hset + 1] = write_record(r)
    out[grant.i] = string.format('granted %s %s %d %d %d', whole(r.token), grant.taken and '1' or '0', r.takeovers,
      r.failures, grant.deliveries)
  else
    out[grant.i] = refused(grant.lease)
  end
end
for from = 1, #hset, 4000 do
  redis.call('HSET', fences, unpack(hset, from, math.min(from + 3999, #hset)))
end
for _, aside in ipairs(asides) do
  local err = set_aside(aside)
  if err then
    out[aside.i] = 'broken ' .. err.err
  else
    redis.call('HDEL', fences, aside.stream)
  end
end
for _, leftover in ipairs(leftovers) do
  if leftover.lease then redis.call('DEL', leftover.lease) end
  if leftover.stream and not payload(lbs, leftover.entry) then redis.call('HDEL', fences, leftover.stream) end
end
return out
