-- Sends a message once per idempotency key: a repeat within the window answers the id of the first. In this order: were
-- the key set first, a message that Redis refuses would count as sent.
-- KEYS: stream once. ARGV: window in ms, then fields and values. Reply: the message's id.
local known = redis.call('GET', KEYS[2])
if known then return known end
local entry = redis.pcall('XADD', KEYS[1], '*', unpack(ARGV, 2))
if type(entry) == 'table' and entry.err then return entry end
redis.call('SET', KEYS[2], entry, 'PX', ARGV[1])
return entry
