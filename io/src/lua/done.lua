-- Finishes streams for ever (DESIGN 5.6). Guarantees:
--  * only the owner finishes: its lease stands, or it has lapsed but nobody has owned the stream since, on the very
--    server that granted it;
--  * entry, pending entry, lease, checkpoint and record go in one step; otherwise nothing changes;
--  * asked again, it answers `gone`; each item is judged by itself;
--  * where Redis refuses to write (READONLY, MISCONF, NOREPLICAS), the call answers that, and nothing has changed.
-- KEYS: lbs fences checkpoints epoch, then the leases.
-- ARGV: group, consumer, then for each lease: entry, stream, value, identity of the server that granted it.
-- Reply: for each `done`, `gone`, `fenced` or `broken <error>`; an error if the group is gone and a lease is, too.
local lbs, fences, checkpoints, epoch = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, me = ARGV[1], ARGV[2]
local out, here = {}, nil

-- Whether this is the server that granted the token; after a rollback the record may be old.
local function granted_here(identity_then)
  if not here then
    here = identity()
    if here == '' then here = settled_on(epoch) or '' end
  end
  return identity_then ~= '' and identity_then == here
end

local function finish(lease, entry, stream, record)
  local acked = redis.pcall('XACK', lbs, group, entry)
  if refused(acked) then return nil, acked end
  if type(acked) == 'table' then return 'broken ' .. acked.err end
  local deleted = redis.call('XDEL', lbs, entry)
  redis.call('DEL', lease)
  if record and record.entry == entry then redis.call('HDEL', fences, stream) end
  redis.pcall('HDEL', checkpoints, stream)
  return acked + deleted > 0 and 'done' or 'gone'
end

local function judge(lease, entry, stream, value, identity_then)
  local holder = redis.pcall('GET', lease)
  if type(holder) == 'table' then return 'broken ' .. holder.err end
  local record, err = fence(fences, stream)
  if err then return err end
  if holder == value then return finish(lease, entry, stream, record) end
  local p
  p, err = pending(lbs, group, entry)
  if err then return 'fenced' end -- somebody else's, in a group that is gone
  if not p then return payload(lbs, entry) and 'fenced' or 'gone' end
  local last = record and record.value == value and record.entry == entry and not record.released
  if not holder and last and p[2] == me and granted_here(identity_then) then
    return finish(lease, entry, stream, record)
  end
  return 'fenced'
end

-- What can go wrong for all goes wrong before anything is finished: what an error answers is not known to be done.
local group_lost = redis.pcall('XPENDING', lbs, group, '0-1', '0-1', 1)
if group_lost.err then
  for i = 1, #KEYS - 4 do
    if redis.pcall('GET', KEYS[i + 4]) == false then return group_lost end
  end
end

for i = 1, #KEYS - 4 do
  local at, err = 4 * i - 2, nil
  out[i], err = judge(KEYS[i + 4], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
  if err then return err end
end
return out
