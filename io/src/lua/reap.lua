-- Looks for orphans (DESIGN 5.4). Guarantees: one consumer of the fleet does, for as long as it keeps asking; it is
-- told what has been idle for a ttl. One that claims by hand steps back for one that does not: only the doorbell tells
-- others of what the reaper does not take itself, and that may be lost. Being the reaper is only a courtesy: where it
-- cannot be written down (out of memory, a key of a wrong type), everybody looks.
-- KEYS: reaper lbs. ARGV: this reaper's name (that of one that claims by hand ends with ` by hand`), how long it stays
--       reaper in ms, group, ttl in ms, start, count.
-- Reply: `{is <ms>}`, or announcements in all, then entry and idle time in ms by turns.
local reaper, lbs = KEYS[1], KEYS[2]
local me = ARGV[1]
-- A long list is looked at less often (1.2 µs of peace for each of its entries): then the role is kept for longer, too.
local announced = redis.call('XLEN', lbs)
local hold = string.format('%d', math.max(tonumber(ARGV[2]), announced * 0.0018))

local function by_hand(name) return string.sub(name, -8) == ' by hand' end

local holder = redis.pcall('GET', reaper)
if holder == me then
  redis.call('PEXPIRE', reaper, hold)
elseif type(holder) == 'string' then
  local left = redis.call('PTTL', reaper)
  if left >= 0 and (by_hand(me) or not by_hand(holder)) then return {'is ' .. string.format('%d', left)} end
  redis.pcall('SET', reaper, me, 'PX', hold)
else
  redis.pcall('SET', reaper, me, 'PX', hold, 'NX')
end

local out = {announced}
local idle = redis.pcall('XPENDING', lbs, ARGV[3], 'IDLE', ARGV[4], ARGV[5], '+', ARGV[6])
if idle.err then return idle end
for _, p in ipairs(idle) do
  out[#out + 1] = p[1]
  out[#out + 1] = p[3]
end
return out
