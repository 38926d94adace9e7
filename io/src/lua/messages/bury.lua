-- Moves messages to the dead letter stream (docs/messages.md). Guarantees:
--  * only who holds the message does; otherwise nothing changes;
--  * it stands there once, with all its fields and its story; with that it is acknowledged and forgotten, and deleted if
--    it is to be and no other group reads the stream: one step;
--  * one whose payload went while it was held is buried from its holder's memory, once: the record says so; but never
--    what stands in the stream after all;
--  * it works when Redis is out of memory; asked again, it answers `gone`. Each item is judged by itself.
-- KEYS: stream attempts delayed dead. ARGV: group, consumer, how many dead letters are kept, about, or '', 1 to delete,
--       else 0, then for each message: entry, deliveries, reason, error, how many texts follow (0: its payload is in the
--       stream; 1: its fields as one text), its fields.
-- Reply: for each `done`, `lost`, `gone` or `broken <error>`.
local stream, attempts, delayed, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, me, cap, delete = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local now = now_ms()
local length = redis.pcall('XLEN', dead)

-- Adds a dead letter. Answers an error if nothing was changed.
local function add(item, record, fields)
  local letter = {'XADD', dead}
  if cap ~= '' then letter = {'XADD', dead, 'MAXLEN', '~', cap} end
  local about = {
    '*', 'id', item.entry, 'reason', item.reason, 'error', item.error, 'attempts', whole(record.failed), 'crashed',
    whole(record.crashed), 'deliveries', whole(item.deliveries), 'first_ms', whole(record.first), 'last_ms',
    whole(record.last), 'consumer', me, 'at_ms', whole(now),
  }
  for i = 1, #about do letter[#letter + 1] = about[i] end
  if #fields <= 6000 then
    for i = 1, #fields, 2 do
      letter[#letter + 1] = 'original:' .. fields[i]
      letter[#letter + 1] = fields[i + 1]
    end
  else
    -- More than a script can hand on: as one text.
    local texts = {}
    for i, text in ipairs(fields) do texts[i] = #text .. ':' .. text end
    letter[#letter + 1] = 'originals'
    letter[#letter + 1] = table.concat(texts)
  end
  local added = redis.pcall(unpack(letter))
  return type(added) == 'table' and added.err and added or nil
end

-- Its payload went while it was held here.
local function bury_gone(item, record)
  if not record or record.state ~= 'gone:' .. whole(item.deliveries) then return 'gone' end
  local begun = begin_writing(stream)
  if type(begun) == 'table' then return nil, begun end
  -- The failure that it is buried for was not counted, unless it is dying of it.
  if item.reason == 'failed' and record.dying == '-' then count_failure(record, item.deliveries, item.error) end
  local err = add(item, record, item.fields)
  if err then return 'broken ' .. err.err end
  record.state, record.last = 'buried', now
  write_record(attempts, item.entry, record)
  return 'done'
end

local function judge(item)
  if type(length) == 'table' then return 'broken ' .. naming(dead, length).err end
  local record, broken = record_of(attempts, item.entry)
  if broken then return broken end
  local what, _, err = fenced(stream, group, me, item.entry, item.deliveries)
  if err then return nil, err end
  if what == 'gone' and item.fields then return bury_gone(item, record) end
  if what then return what end
  local there
  there, err = give(stream, group, me, item.entry)
  if err then return nil, err end
  if not there then
    note_gone(attempts, item.entry, item.deliveries)
    if not item.fields then return 'gone' end
    return bury_gone(item, record_of(attempts, item.entry))
  end
  -- Thought to be gone, and delivered again since: it is no memory, and may run again.
  if item.fields then return 'lost' end
  err = add(item, record or touched(nil, now), payload(stream, item.entry))
  if err then return 'broken ' .. err.err end
  redis.call('XACK', stream, group, item.entry)
  redis.call('HDEL', attempts, item.entry)
  redis.pcall('ZREM', delayed, item.entry)
  if delete and only_group(stream, group) then redis.call('XDEL', stream, item.entry) end
  return 'done'
end

local out, at = {}, 4
while at < #ARGV do
  local item = {
    entry = ARGV[at + 1], deliveries = tonumber(ARGV[at + 2]), reason = ARGV[at + 3], error = ARGV[at + 4],
  }
  local texts, err = tonumber(ARGV[at + 5]), nil
  at = at + 5
  if texts > 0 then
    item.fields = {}
    for i = 1, texts do item.fields[i] = ARGV[at + i] end
    if texts == 1 then item.fields = unpack_fields(item.fields[1]) or {'body', item.fields[1]} end
    at = at + texts
  end
  out[#out + 1], err = judge(item)
  if err then return err end
end
return out
