-- Puts messages aside until they are due, after a failure or given back (docs/messages.md). Guarantees:
--  * only who holds the message does; otherwise nothing changes;
--  * a failure is counted once for each delivery; the delivery count stays as it is;
--  * parked and due are one step: nothing is parked without being due ever;
--  * it works when Redis is out of memory; asked again, it answers the same. Each item is judged by itself.
-- KEYS: stream attempts delayed. ARGV: group, consumer, then for each message: entry, deliveries, delay in ms, 1 if it
--       failed, else 0, the error.
-- Reply: for each `done`, `lost`, `gone` or `broken <error>`.
local stream, attempts, delayed = KEYS[1], KEYS[2], KEYS[3]
local group, me = ARGV[1], ARGV[2]
local now = now_ms()
local zset = redis.pcall('ZCARD', delayed)

local function judge(entry, deliveries, delay, failed, text)
  if type(zset) == 'table' then return 'broken ' .. naming(delayed, zset).err end
  local record, broken
  if failed then
    record, broken = record_of(attempts, entry)
    if broken then return broken end
  end
  local what, p, err = fenced(stream, group, me, entry, deliveries)
  if err then return nil, err end
  if p and p[2] == DELAYED and p[4] == deliveries and (not failed or record and record.counted == deliveries) then
    return 'done' -- and the answer that said so was lost
  end
  if what then return what end
  local there
  there, err = give(stream, group, DELAYED, entry)
  if err then return nil, err end
  if not there then
    note_gone(attempts, entry, deliveries)
    return 'gone'
  end
  redis.call('ZADD', delayed, whole(now + delay), entry)
  if failed then
    record = touched(record, now)
    count_failure(record, deliveries, text)
    write_record(attempts, entry, record)
  end
  return 'done'
end

local out = {}
for i = 1, (#ARGV - 2) / 5 do
  local at, err = 5 * i - 3, nil
  out[i], err =
    judge(ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), ARGV[at + 4] == '1', ARGV[at + 5])
  if err then return err end
end
return out
