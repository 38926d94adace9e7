-- Deletes consumers of the group that have nothing pending and were not heard of for an hour; never the caller. Looking
-- and deleting is one step, since deleting a consumer drops what it has pending.
-- KEYS: lbs. ARGV: group, consumer. Reply: the names of those deleted.
local lbs, group, me = KEYS[1], ARGV[1], ARGV[2]
local consumers = redis.pcall('XINFO', 'CONSUMERS', lbs, group)
if consumers.err then return consumers end
local out = {}
for _, flat in ipairs(consumers) do
  local consumer = {}
  for i = 1, #flat, 2 do consumer[flat[i]] = flat[i + 1] end
  if consumer.pending == 0 and consumer.idle > 3600000 and consumer.name ~= me then
    redis.call('XGROUP', 'DELCONSUMER', lbs, group, consumer.name)
    out[#out + 1] = consumer.name
  end
end
return out
