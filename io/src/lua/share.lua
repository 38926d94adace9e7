-- How many new announcements this consumer may take now (DESIGN 5.1), so that it ends up with no more pending than its
-- even part of all announcements, and the first to come leaves something to the others. Writes nothing.
-- KEYS: lbs epoch. ARGV: group, consumer, count, how long ago a live consumer was heard of at most, in ms, how many
--       consumers are no crowd, how many announcements the caller holds (in a crowd they are not counted); and the
--       number of the partition, if there are several: what cannot be divided evenly goes to others in each of them.
-- Reply: how many; and 1 if there are none for this consumer, but for others, else 0.
local lbs, epoch, group, me = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local count, partition = tonumber(ARGV[3]), tonumber(ARGV[7])

local fleet = fleet_of(lbs, epoch, group, me, tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]))
if fleet.err then return fleet end
local live, rank = fleet.live, fleet.rank
-- By chance: what nobody takes as its part is taken as what others have left.
if fleet.is_crowd and partition then rank = tonumber(string.sub(redis.sha1hex(me), 1, 8), 16) % live end
local announced = redis.call('XLEN', lbs)
local fair = math.ceil(announced / live)
if partition and (rank + partition) % live >= announced % live then fair = math.floor(announced / live) end
local n = math.min(count, math.max(0, fair - fleet.own))

local more = 0
if n == 0 then
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', lbs)) do
    local about = {}
    for i = 1, #flat, 2 do about[flat[i]] = flat[i + 1] end
    if about.name == group and redis.call('XRANGE', lbs, '(' .. about['last-delivered-id'], '+', 'COUNT', 1)[1] then
      more = 1
    end
  end
end
return {n, more}
