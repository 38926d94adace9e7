-- Grants permits under the rate limit that a whole group shares. Guarantees: in any span of time no more are granted
-- than in that span become free, and those that a quiet time saves up: one limit's worth. It works when Redis is out of
-- memory; a clock that was set back costs at most one span.
-- KEYS: rate. ARGV: count, permits, in how many ms.
-- Reply: how many are granted, and in how many ms there is one more.
-- The value is the time in µs when all that was granted is paid for.
local count, permits, span = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]) * 1000
local each, now = span / permits, clock()
local paid = tonumber(redis.call('GET', KEYS[1]) or 0) or 0
paid = math.max(now, math.min(paid, now + span))
-- Half a µs of tolerance: the value is stored in whole µs.
local granted = math.min(count, math.floor((now + span - paid + 0.5) / each))
if granted > 0 then
  paid = paid + granted * each
  -- First of the writes: it takes no memory, and Redis does not stop a script that has begun to write.
  redis.call('PEXPIRE', KEYS[1], '1')
  redis.call('SET', KEYS[1], whole(math.ceil(paid)), 'PX', whole(math.ceil((paid - now) / 1000) + 1))
end
return {granted, math.max(0, math.ceil((paid + each - span - now) / 1000))}
