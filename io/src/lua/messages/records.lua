-- Forgets what went wrong with messages that are gone: a page of the records. Those of messages that were buried from
-- memory, or may be, stay for a while, so that a repeated question does not bury them twice.
-- KEYS: stream attempts. ARGV: group, cursor, for how many ms those stay. Reply: the next cursor, how many were deleted.
local stream, attempts, group = KEYS[1], KEYS[2], ARGV[1]
local now = now_ms()
local page = redis.call('HSCAN', attempts, ARGV[2], 'COUNT', '100')
local gone = 0
for i = 1, #page[2], 2 do
  local entry, record = page[2][i], read_record(page[2][i + 1])
  local p, err = pending(stream, group, entry)
  if err and not string.find(err.err, 'Invalid stream ID', 1, true) then return err end
  local stays = record.state == 'buried' or string.sub(record.state, 1, 5) == 'gone:'
  if not p and not (stays and now - record.last < tonumber(ARGV[3])) then
    gone = gone + redis.call('HDEL', attempts, entry)
  end
end
return {page[1], gone}
