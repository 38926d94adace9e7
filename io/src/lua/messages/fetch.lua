-- Hands messages that are pending under this consumer's name to it again, since an answer was lost. Guarantees:
--  * nobody else's is touched, and no delivery is counted;
--  * what has lost its payload is acknowledged and forgotten, and the answer says so;
--  * it works when Redis is out of memory, and may be asked again.
-- KEYS: stream attempts. ARGV: group, consumer, then the ids.
-- Reply: for each that is pending under this name: `{id, deliveries, {field, value, …} or nil, record or nil}`.
local stream, attempts, group, me = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local out = {}
local known = redis.pcall('HLEN', attempts)
if type(known) == 'table' then return naming(attempts, known) end
for i = 3, #ARGV do
  local entry = ARGV[i]
  local p, err = pending(stream, group, entry)
  if err then return err end
  if p and p[2] == me then
    local record = redis.call('HGET', attempts, entry)
    local there
    there, err = give(stream, group, me, entry)
    if err then return err end
    if not there then redis.call('HDEL', attempts, entry) end
    out[#out + 1] = {entry, p[4], there and payload(stream, entry) or false, record}
  end
end
return out
