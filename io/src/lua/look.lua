-- Reads the announcements behind some ids, and who shares the service's streams. Writes nothing.
-- KEYS: lbs epoch. ARGV: group, consumer, how long ago a live consumer was heard of at most, in ms, how many consumers are
--       no crowd, then the ids.
-- Reply: announcements in all, live consumers, how many of them have a smaller name (0 in a crowd); then for each id that
--        is pending how long nobody has touched it in ms, and `{id, {field, value, …}}`, or `{id}` if its payload was
--        trimmed away.
local lbs, epoch, group = KEYS[1], KEYS[2], ARGV[1]

local fleet = fleet_of(lbs, epoch, group, ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]))
if fleet.err then return fleet end

local out = {redis.call('XLEN', lbs), fleet.live, fleet.rank}
for i = 5, #ARGV do
  local entry = ARGV[i]
  local pending = redis.call('XPENDING', lbs, group, entry, entry, '1')[1]
  if pending then
    local found = redis.call('XRANGE', lbs, entry, entry)
    out[#out + 1] = pending[3]
    out[#out + 1] = {entry, found[1] and found[1][2]}
  end
end
return out
