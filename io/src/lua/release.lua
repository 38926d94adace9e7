-- Gives streams back, unfinished (DESIGN 5.6). Guarantees:
--  * only the owner gives back, or the owner whose lease has lapsed while nobody has owned the stream since;
--  * afterwards anybody may claim at once, Go peers included: the entry counts as idle for an hour, the lease expires
--    (and is announced) in a millisecond, the record says released;
--  * a failed handler's pause and count stand in the record; if it failed too often, the stream stands in S-dead;
--  * it works when Redis is out of memory; asked again, it answers the same;
--  * where Redis refuses to write (READONLY, MISCONF, NOREPLICAS), the call answers that, and nothing has changed.
-- KEYS: lbs fences dead, then the leases.
-- ARGV: group, consumer, cap of S-dead or '', then for each lease: entry, stream, value, failures or '' (no failure),
--       pause in ms, 1 to set it aside, error.
-- Reply: for each `released`, `aside`, `fenced` or `broken <error>`.
local lbs, fences, dead = KEYS[1], KEYS[2], KEYS[3]
local group, me, cap = ARGV[1], ARGV[2], ARGV[3]
local now = math.floor(clock() / 1000)

local function give_back(lease, held, item, record)
  if not record and item.failures then
    record = {token = 0, entry = item.entry, ttl = 0, gained = now, takeovers = 0, failures = 0, value = item.value}
  end
  if record and record.value == item.value and record.entry == item.entry then
    record.released, record.takeovers, record.not_before = true, 0, 0
    if item.failures then
      record.failures, record.not_before = item.failures, now + item.pause
    end
    local set = redis.pcall('HSET', fences, item.stream, write_record(record))
    if refused(set) then return nil, set end
  end
  if held then redis.call('PEXPIRE', lease, '1') end
  return 'released'
end

-- Whether this entry is among those that were set aside last: then the answer that said so was lost.
local function is_aside(entry)
  local latest = redis.pcall('XREVRANGE', dead, '+', '-', 'COUNT', 100)
  for _, found in ipairs(latest) do
    local fields = found[2]
    if fields[1] == 'entry' and fields[2] == entry and fields[6] == 'failed' then return true end
  end
  return false
end

local function judge(lease, item)
  local holder = redis.pcall('GET', lease)
  if type(holder) == 'table' then return 'broken ' .. holder.err end
  local record, err = fence(fences, item.stream)
  if err then return err end
  local held = holder == item.value
  local last = record and record.entry == item.entry and record.value == item.value
  if not held and (holder or not last) then
    return item.aside and not payload(lbs, item.entry) and is_aside(item.entry) and 'aside' or 'fenced'
  end
  -- Asked again. Meanwhile its consumer may have been deleted, and the pending entry with it.
  if last and record.released and pending(lbs, group, item.entry) then return 'released' end
  -- Whose the pending entry is; with the lease it is ours, whatever it says.
  local p = (item.aside or not held) and pending(lbs, group, item.entry)
  local claimed
  if held or not p or p[2] == me then
    -- First of all writes: it takes no memory, and Redis does not stop a script that has begun to write.
    claimed = redis.pcall('XCLAIM', lbs, group, me, '0', item.entry, 'IDLE', '3600000', 'JUSTID')
    if refused(claimed) then return nil, claimed end
    if claimed[1] and emptied(lbs, group, item.entry) then claimed = {} end
    if not claimed.err and not claimed[1] and payload(lbs, item.entry) then
      -- Acknowledged by somebody, or its consumer was deleted, but still announced: pending again, or nobody would ever
      -- be handed it.
      claimed = redis.pcall('XCLAIM', lbs, group, me, '0', item.entry, 'IDLE', '3600000', 'FORCE', 'JUSTID')
    end
  else
    -- Handed out anew, to somebody else. There is no lease to delete, but this is a write, and comes first.
    redis.pcall('DEL', lease)
  end
  if not claimed or not claimed[1] then
    local there = redis.pcall('XRANGE', lbs, item.entry, item.entry)
    if not there.err and not there[1] then
      -- The entry is gone: nothing is left to give back.
      if held then redis.call('DEL', lease) end
      if last then redis.call('HDEL', fences, item.stream) end
      return 'released'
    end
  elseif item.aside then
    err = set_aside({
      lbs = lbs, group = group, dead = dead, cap = cap, entry = item.entry, stream = item.stream, reason = 'failed',
      error = item.error, consumer = me, takeovers = record and record.takeovers or 0, failures = item.failures,
      deliveries = p and p[4] or 1, at_ms = now, fields = payload(lbs, item.entry) or {},
    })
    if err then
      -- Given back at least, with its pause: the next failure tries again.
      local _, refusal = give_back(lease, held, item, record)
      if refusal then return nil, refusal end
      return 'broken ' .. err.err
    end
    if held then redis.call('DEL', lease) end
    if last then redis.call('HDEL', fences, item.stream) end
    return 'aside'
  end
  return give_back(lease, held, item, record)
end

local out = {}
for i = 1, #KEYS - 3 do
  local at, err = 7 * i - 4, nil
  out[i], err = judge(KEYS[i + 3], {
    entry = ARGV[at + 1], stream = ARGV[at + 2], value = ARGV[at + 3], failures = tonumber(ARGV[at + 4]),
    pause = tonumber(ARGV[at + 5]), aside = ARGV[at + 6] == '1', error = ARGV[at + 7],
  })
  if err then return err end
end
return out
