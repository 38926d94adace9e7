-- Clears away what nobody will need again. Looking and deleting is one step.
--  * Consumers of the group that have nothing pending and were not heard of for so long; never the caller. (Deleting
--    a consumer drops what it has pending.)
--  * Of a hundred records of S-fences picked at random, those of announcements that are gone: a Go peer that finishes a
--    stream of ours knows nothing of its record and checkpoint.
-- KEYS: lbs fences checkpoints. ARGV: group, consumer, for how long in ms. Reply: the names of the consumers deleted.
local lbs, fences, checkpoints, group, me = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]
local consumers = redis.pcall('XINFO', 'CONSUMERS', lbs, group)
if consumers.err then return consumers end
local out = {}
for _, flat in ipairs(consumers) do
  local consumer = {}
  for i = 1, #flat, 2 do consumer[flat[i]] = flat[i + 1] end
  if consumer.pending == 0 and consumer.idle > tonumber(ARGV[3]) and consumer.name ~= me then
    redis.call('XGROUP', 'DELCONSUMER', lbs, group, consumer.name)
    out[#out + 1] = consumer.name
  end
end

local records = redis.pcall('HRANDFIELD', fences, 100, 'WITHVALUES')
for i = 1, #records, 2 do
  local entry = string.match(records[i + 1], '^%d+ (%d+%-%d+) ')
  if entry and not redis.call('XRANGE', lbs, entry, entry)[1]
    and not redis.call('XPENDING', lbs, group, entry, entry, '1')[1] then
    redis.call('HDEL', fences, records[i])
    redis.pcall('HDEL', checkpoints, records[i])
  end
end
return out
