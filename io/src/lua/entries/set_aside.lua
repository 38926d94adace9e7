-- Copies entries of data streams that cannot be decoded to S-dead-entries. Guarantees:
--  * only by the owner: its lease stands;
--  * an entry that stands among the last 1,000 there already is not copied again: asked again, it answers the same;
--  * each item is judged by itself;
--  * where Redis refuses to write (OOM, READONLY, MISCONF, NOREPLICAS), the call answers that; what was copied before
--    is not copied again when it is repeated.
-- KEYS: dead entries, then the leases.
-- ARGV: consumer, cap of S-dead-entries or '', then for each item: announcement, stream, value of the lease, id, error,
--       how many texts the copy of the fields has, and these.
-- Reply: for each `done`, `fenced` or `broken <error>`.
local dead = KEYS[1]
local me, cap = ARGV[1], ARGV[2]
local now = math.floor(clock() / 1000)

-- What stands there, by stream and id. Looked up once, however many are asked about.
local there
local function is_there(stream, id)
  if not there then
    there = {}
    local latest = redis.pcall('XREVRANGE', dead, '+', '-', 'COUNT', 1000)
    for _, found in ipairs(latest) do
      local fields = found[2]
      if fields[1] == 'stream' and fields[3] == 'id' then there[fields[4] .. ' ' .. fields[2]] = true end
    end
  end
  return there[id .. ' ' .. stream]
end

local function copy(item, fields)
  if is_there(item.stream, item.id) then return 'done' end
  local add = {'XADD', dead}
  if cap ~= '' then
    add[3], add[4], add[5] = 'MAXLEN', '~', cap
  end
  local about = {
    '*', 'stream', item.stream, 'id', item.id, 'error', item.error, 'consumer', me, 'entry', item.entry,
    'at_ms', whole(now),
  }
  for i = 1, #about do add[#add + 1] = about[i] end
  for i = 1, #fields do add[#add + 1] = fields[i] end
  local added = redis.pcall(unpack(add))
  if type(added) == 'string' then
    there[item.id .. ' ' .. item.stream] = true
    return 'done'
  end
  if string.find(added.err, 'WRONGTYPE', 1, true) then return 'broken ' .. added.err end
  return nil, added
end

local function judge(item, fields, lease)
  local holder = redis.pcall('GET', lease)
  if type(holder) == 'table' then return 'broken ' .. holder.err end
  if holder ~= item.value then return 'fenced' end
  return copy(item, fields)
end

local out, at = {}, 2
for i = 2, #KEYS do
  local item = {
    entry = ARGV[at + 1], stream = ARGV[at + 2], value = ARGV[at + 3], id = ARGV[at + 4], error = ARGV[at + 5],
  }
  local fields, first = {}, at + 6
  at = first + tonumber(ARGV[first])
  for j = first + 1, at do fields[#fields + 1] = ARGV[j] end
  local answer, err = judge(item, fields, KEYS[i])
  if err then return err end
  out[#out + 1] = answer
end
return out
