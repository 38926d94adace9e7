-- Deletes this consumer's name if nothing is pending under it. Looking and deleting is one step.
-- KEYS: stream. ARGV: group, consumer. Reply: 1 if it is not there any more, else 0.
local mine = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', '1', ARGV[2])
if mine.err then return mine end
if mine[1] then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
