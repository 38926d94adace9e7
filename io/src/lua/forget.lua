-- Acknowledges announcements whose payload was trimmed away, so that they are not looked at for ever; only if nobody
-- has touched them for the given time, since their owner may still be at work.
-- KEYS: lbs. ARGV: group, idle in ms, then the ids. Reply: the ids that were acknowledged.
local lbs, group, idle = KEYS[1], ARGV[1], tonumber(ARGV[2])
local out = {}
for i = 3, #ARGV do
  local entry = ARGV[i]
  local p = redis.call('XPENDING', lbs, group, entry, entry, '1')[1]
  if p and p[3] >= idle and not redis.call('XRANGE', lbs, entry, entry)[1] then
    redis.call('XACK', lbs, group, entry)
    out[#out + 1] = entry
  end
end
return out
