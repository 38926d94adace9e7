-- Looks for orphans (DESIGN 5.4). Guarantees: one consumer of the fleet does, for as long as it keeps asking; it is
-- told what has been idle for a ttl. Others learn of what it cannot take itself by the doorbell only, which may be lost:
-- so it steps back for somebody with more than twice its room. Being the reaper is only a courtesy: where it cannot be
-- written down (out of memory, a key of a wrong type), everybody looks.
-- KEYS: reaper lbs. ARGV: this reaper's name, how long it stays reaper in ms, group, ttl in ms, start, count, for how many
--       streams it has room.
-- Reply: `{is <ms>}`, or announcements in all, then entry and idle time in ms by turns.
local reaper, lbs = KEYS[1], KEYS[2]
local me, room = ARGV[1], tonumber(ARGV[7])
-- A long list is looked at less often (1.2 µs of peace for each of its entries): then the role is kept for longer, too.
local announced = redis.call('XLEN', lbs)
local hold = string.format('%d', math.max(tonumber(ARGV[2]), announced * 0.0018))

local value = me .. ' ' .. ARGV[7]
local holder = redis.pcall('GET', reaper)
if type(holder) == 'string' then
  local whose, left_room = string.match(holder, '^(.*) (%d+)$')
  if whose == me then
    local set = redis.pcall('SET', reaper, value, 'PX', hold)
    if set.err then redis.call('PEXPIRE', reaper, hold) end
  else
    local left = redis.call('PTTL', reaper)
    local outdone = left_room and room > 2 * tonumber(left_room)
    if left >= 0 and not outdone then return {'is ' .. string.format('%d', left)} end
    redis.pcall('SET', reaper, value, 'PX', hold)
  end
else
  redis.pcall('SET', reaper, value, 'PX', hold, 'NX')
end

local out = {announced}
local idle = redis.pcall('XPENDING', lbs, ARGV[3], 'IDLE', ARGV[4], ARGV[5], '+', ARGV[6])
if idle.err then return idle end
for _, p in ipairs(idle) do
  out[#out + 1] = p[1]
  out[#out + 1] = p[3]
end
return out
