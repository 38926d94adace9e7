-- Acknowledges messages where more is owed than that (docs/messages.md). Guarantees:
--  * what was acknowledged is forgotten, marked as processed and deleted in the same step;
--  * nothing is deleted while another group reads the stream;
--  * it works when Redis is out of memory; asked again, it answers 0.
-- KEYS: stream attempts delayed, then the marks of those that are to be remembered.
-- ARGV: group, 1 to delete, else 0, how long a mark stays in ms, then for each message: entry, 1 if it has a record, 1
--       if it is to be remembered.
-- Reply: how many were still pending.
local stream, attempts, delayed, group = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local entries, recorded, marked = {}, {}, {}
for at = 4, #ARGV, 3 do
  entries[#entries + 1] = ARGV[at]
  if ARGV[at + 1] == '1' then recorded[#recorded + 1] = ARGV[at] end
  if ARGV[at + 2] == '1' then marked[#marked + 1] = ARGV[at] end
end

local acked = redis.pcall('XACK', stream, group, unpack(entries))
if type(acked) == 'table' then return acked end
if recorded[1] then
  redis.pcall('HDEL', attempts, unpack(recorded))
  redis.pcall('ZREM', delayed, unpack(recorded))
end
for i, entry in ipairs(marked) do redis.call('SET', KEYS[3 + i], entry, 'PX', ARGV[3]) end
if ARGV[2] == '1' and only_group(stream, group) then redis.call('XDEL', stream, unpack(entries)) end
return acked
