-- Deletes consumers of the group that have nothing pending and were not heard of for so long; never the caller. Looking
-- and deleting is one step: deleting a consumer drops what it has pending.
-- KEYS: stream. ARGV: group, consumer, for how long in ms. Reply: the names of those that were deleted.
local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, group)
if consumers.err then return consumers end
local out = {}
for _, flat in ipairs(consumers) do
  local consumer = {}
  for i = 1, #flat, 2 do consumer[flat[i]] = flat[i + 1] end
  if consumer.pending == 0 and consumer.idle > tonumber(ARGV[3]) and consumer.name ~= me then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer.name)
    out[#out + 1] = consumer.name
  end
end
return out
