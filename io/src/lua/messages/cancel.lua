-- Cancels messages that were sent with a delay and are not in the stream yet: each in one step.
-- KEYS: scheduled bodies, then for each the key that keeps it from being sent twice. ARGV: the ids.
-- Reply: for each 1 if it was waiting, else 0.
local scheduled, bodies = KEYS[1], KEYS[2]
redis.call('HLEN', bodies)
local out = {}
for i, id in ipairs(ARGV) do
  out[i] = redis.call('ZREM', scheduled, id)
  if out[i] == 1 then
    redis.call('HDEL', bodies, id)
    redis.call('DEL', KEYS[2 + i])
  end
end
return out
