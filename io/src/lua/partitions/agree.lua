-- Replaces the numbers of partitions that there have been, if they are still those that the caller saw.
-- KEYS: partitions. ARGV: what the caller saw or '', what is to stand there. Reply: what stands there.
local stands = redis.call('GET', KEYS[1]) or ''
if stands ~= ARGV[1] then return stands end
redis.call('SET', KEYS[1], ARGV[2])
return ARGV[2]
