-- Keeps a batch of leases (DESIGN 5.3). Guarantees:
--  * a lease that is still this ownership's lives for a ttl from now, and its entry is pending under this consumer and
--    fresh: idle time is the time since the owner's last heartbeat;
--  * a lease that has lapsed, or is somebody else's, is not touched;
--  * only during the wait that the caller names (5.8), a lease that is gone from a server that forgot it is created
--    again, unless the stream's record shows a later or another ownership;
--  * it works when Redis is out of memory, and when the group is gone.
-- KEYS: lbs fences epoch token, then the leases.
-- ARGV: group, consumer, ttl in ms, the wait during which to create again or '', then the entries, `JUSTID`, the values
--       of the leases, and with a wait their `<token> <stream>`: if all goes well, XCLAIM takes the entries as they stand.
-- Reply: what became of the group (`` or an error), then only the exceptions, `<index from 0> <what>`: `lost
--        [<holder>]`, `back`, `recreated`, `gone`, `broken <error>`.
local lbs, fences, epoch, tokens = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, me, ttl, wait = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local leases = #KEYS - 4
local out = {''}

local function except(i, what)
  out[#out + 1] = whole(i - 1) .. ' ' .. what
end

local function about(i)
  local token, stream = string.match(ARGV[5 + 2 * leases + i], '^(%d+) (.*)$')
  return tonumber(token), stream
end

local call, skipped = redis.call, {}

local function skip(i, what)
  except(i, what)
  skipped[i], skipped.any = true, true
end

local waiting = wait ~= '' and redis.pcall('HGET', epoch, 'id') == wait

-- Creates a forgotten lease again. Answers what became of it.
local function recreate(i, lease, entry, value)
  local token, stream = about(i)
  local record, err = fence(fences, stream)
  if err then return err end
  if record and record.token >= token and (record.value ~= value or record.entry ~= entry or record.released) then
    return 'lost'
  end
  local p, lost = pending(lbs, group, entry)
  if lost or not p or p[2] ~= me then return 'lost' end
  if not record or record.token ~= token then
    record = {
      token = token, entry = entry, ttl = tonumber(ttl), gained = math.floor(clock() / 1000), released = false,
      takeovers = record and record.takeovers or 0, failures = record and record.failures or 0, not_before = 0,
      value = value,
    }
  end
  local highest = redis.pcall('GET', tokens)
  if type(highest) == 'table' then return 'broken ' .. highest.err end
  -- First of the writes: it takes no memory, and Redis does not stop a script that has begun to write.
  redis.call('XCLAIM', lbs, group, me, 0, entry, 'JUSTID')
  local set = redis.pcall('SET', tokens, whole(math.max(tonumber(highest or 0) or 0, token)))
  if set.err then return 'broken ' .. set.err end
  redis.call('HSET', fences, stream, write_record(record))
  redis.call('SET', lease, value, 'PX', ttl, 'NX')
  except(i, 'recreated')
end

local holders = leases > 0 and call('MGET', unpack(KEYS, 5)) or {}
for i = 1, leases do
  local lease, value, holder = KEYS[i + 4], ARGV[5 + leases + i], holders[i]
  if holder == value then
    call('PEXPIRE', lease, ttl)
  elseif holder then
    skip(i, 'lost ' .. holder)
  else
    -- Absent, or of a wrong type: MGET does not tell.
    local look = redis.pcall('GET', lease)
    local what = type(look) == 'table' and 'broken ' .. look.err or not waiting and 'lost'
    what = what or recreate(i, lease, ARGV[4 + i], value)
    if what then skip(i, what) end
  end
end

-- One that is not pending any more: taken back if it is still in the LBS. If not, its owner gives it back, which takes
-- lease and record away.
local function missing(i, entry)
  if not payload(lbs, entry) then return except(i, 'gone') end
  redis.call('XCLAIM', lbs, group, me, 0, entry, 'FORCE', 'JUSTID')
  except(i, 'back')
end

local kept, places = ARGV, nil
local first, last = 5, 5 + leases
if skipped.any then
  kept, places = {}, {}
  for i = 1, leases do
    if not skipped[i] then
      places[#places + 1] = i
      kept[#places] = ARGV[4 + i]
    end
  end
  first, last = 1, #places + 1
  kept[last] = 'JUSTID'
end
if last > first then
  local claimed = redis.pcall('XCLAIM', lbs, group, me, 0, unpack(kept, first, last))
  if claimed.err then
    out[1] = claimed.err
  elseif OLD or #claimed < last - first then
    local there = {}
    for _, entry in ipairs(claimed) do there[entry] = not emptied(lbs, group, entry) end
    for at = first, last - 1 do
      if not there[kept[at]] then missing(places and places[at] or at - 4, kept[at]) end
    end
  end
end
return out
