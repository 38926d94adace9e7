-- Announces a stream once per idempotency key: a repeat within the window answers the id of the first.
-- KEYS: lbs once. ARGV: window in ms, field, announcement. Reply: the entry's id.
local known = redis.call('GET', KEYS[2])
if known then return known end
local entry = redis.pcall('XADD', KEYS[1], '*', ARGV[2], ARGV[3])
if type(entry) == 'table' and entry.err then return entry end
redis.call('SET', KEYS[2], entry, 'PX', ARGV[1])
return entry
