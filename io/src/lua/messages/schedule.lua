-- Keeps a message until it is due; then `due.lua` moves it into the stream. Guarantees: sent again under the same id, it
-- is neither doubled nor changed, for as long as it waits, and for the window after it was due; it may be sent again
-- under its id once it was cancelled.
-- KEYS: scheduled bodies once. ARGV: id, delay in ms, window in ms, fields and values as one text.
-- Reply: when it is due in ms; 1 if it was sent before, else 0.
local scheduled, bodies, once, id = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local known = redis.call('GET', once) or redis.call('ZSCORE', scheduled, id)
if known then return {tonumber(known) or 0, 1} end
-- What can go wrong goes wrong here, before anything is written.
redis.call('HEXISTS', bodies, id)
local due = math.floor(clock() / 1000) + tonumber(ARGV[2])
local added = redis.pcall('ZADD', scheduled, whole(due), id)
if type(added) == 'table' then return added end
redis.call('HSET', bodies, id, ARGV[4])
if ARGV[3] ~= '0' then redis.call('SET', once, whole(due), 'PX', whole(tonumber(ARGV[2]) + tonumber(ARGV[3]))) end
return {due, 0}
