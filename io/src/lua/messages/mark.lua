-- Writes into the records of messages that are held (docs/messages.md). Guarantees:
--  * only who holds the message does; otherwise nothing changes;
--  * a failure is counted once for each delivery; asked again, it answers the same;
--  * the message counts as refreshed; it works when Redis is out of memory. Each item is judged by itself.
-- KEYS: stream attempts. ARGV: group, consumer, then for each message: entry, deliveries, `started` or the reason why it
--       is dying, 1 if it failed, else 0, the error.
-- Reply: for each `done`, `lost`, `gone` or `broken <error>`.
local stream, attempts, group, me = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local now = now_ms()

local function judge(entry, deliveries, mark, failed, text)
  local record, broken = record_of(attempts, entry)
  if broken then return broken end
  local what, _, err = fenced(stream, group, me, entry, deliveries)
  if err then return nil, err end
  if what then return what end
  local there
  there, err = give(stream, group, me, entry)
  if err then return nil, err end
  if not there then
    note_gone(attempts, entry, deliveries)
    return 'gone'
  end
  record = touched(record, now)
  if mark == 'started' then
    record.started = deliveries
  else
    -- The mark of the run that failed says nothing of `process_dead`.
    if record.dying == '-' then record.started = 0 end
    record.dying = mark
    if failed then count_failure(record, deliveries, text) end
  end
  write_record(attempts, entry, record)
  return 'done'
end

local out = {}
for i = 1, (#ARGV - 2) / 5 do
  local at, err = 5 * i - 3, nil
  out[i], err = judge(ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3], ARGV[at + 4] == '1', ARGV[at + 5])
  if err then return err end
end
return out
