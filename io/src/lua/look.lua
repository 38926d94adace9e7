-- Reads the announcements behind some ids, and who shares the service's streams. Writes nothing.
-- KEYS: lbs. ARGV: group, consumer, how long ago a live consumer was heard of at most, in ms, then the ids.
-- Reply: announcements in all, live consumers, how many of them have a smaller name; then for each id that is pending
--        how long nobody has touched it in ms, and `{id, {field, value, …}}`, or `{id}` if its payload was trimmed away.
local lbs, group, me, live_within = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])

local live, rank = 1, 0
local consumers = redis.pcall('XINFO', 'CONSUMERS', lbs, group)
if consumers.err then return consumers end
for _, flat in ipairs(consumers) do
  local consumer = {}
  for i = 1, #flat, 2 do consumer[flat[i]] = flat[i + 1] end
  if consumer.name ~= me and consumer.idle <= live_within then
    live = live + 1
    if consumer.name < me then rank = rank + 1 end
  end
end

local out = {redis.call('XLEN', lbs), live, rank}
for i = 4, #ARGV do
  local entry = ARGV[i]
  local pending = redis.call('XPENDING', lbs, group, entry, entry, '1')[1]
  if pending then
    local found = redis.call('XRANGE', lbs, entry, entry)
    out[#out + 1] = pending[3]
    out[#out + 1] = {entry, found[1] and found[1][2]}
  end
end
return out
