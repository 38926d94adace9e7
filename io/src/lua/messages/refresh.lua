-- Keeps messages: the idle time of a pending message is the time since its holder's last heartbeat. Guarantees:
--  * only who holds the message does; somebody else's is not touched;
--  * it works when Redis is out of memory, and may be asked again. Each item is judged by itself.
-- KEYS: stream attempts. ARGV: group, consumer, then for each message: entry, deliveries.
-- Reply: for each `done`, `lost` or `gone`.
local stream, attempts, group, me = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local out, kept, places = {}, {}, {}

for i = 1, (#ARGV - 2) / 2 do
  local entry, deliveries = ARGV[2 * i + 1], tonumber(ARGV[2 * i + 2])
  local what, _, err = fenced(stream, group, me, entry, deliveries)
  if err then return err end
  out[i] = what or 'done'
  if not what then
    kept[#kept + 1] = entry
    places[#kept] = i
  end
end
if #kept == 0 then return out end

kept[#kept + 1] = 'JUSTID'
local claimed = redis.pcall('XCLAIM', stream, group, me, '0', unpack(kept))
if claimed.err then return claimed end
local there = {}
for _, entry in ipairs(claimed) do there[entry] = not emptied(stream, group, entry) end
for at, i in ipairs(places) do
  if not there[kept[at]] then
    note_gone(attempts, kept[at], tonumber(ARGV[2 * i + 2]))
    out[i] = 'gone'
  end
end
return out
