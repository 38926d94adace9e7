-- Looks for what has been idle for too long, under any name, and puts it among what is due (docs/messages.md).
-- Guarantees:
--  * one consumer of the group does. It asks only if it has been in touch with Redis for so long that the living must
--    have refreshed since: after an outage, what is idle is not dead;
--  * a crash is counted by who moves the message: the first always, the next ones only if this delivery's run was
--    marked; parked messages, and its own, are left alone;
--  * moved and due are one step; it works when Redis is out of memory; it may be asked again.
-- KEYS: reclaimer stream delayed attempts. ARGV: consumer, how long it stays the reclaimer in ms, group, idle in ms,
--       count, Redis's clock in ms when the caller was last in touch with it, how long ago that may be in ms.
-- Reply: `{is <ms>}`, or now in ms, 1 if there may be more, else 0, then entry and crashes by turns.
local reclaimer, stream, delayed, attempts = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local me, group, count = ARGV[1], ARGV[3], tonumber(ARGV[5])
local now = now_ms()

-- What can go wrong goes wrong here, before anything is written.
local holder = redis.pcall('GET', reclaimer)
if type(holder) == 'table' then return naming(reclaimer, holder) end
local parked, known = redis.pcall('ZCARD', delayed), redis.pcall('HLEN', attempts)
if type(parked) == 'table' then return naming(delayed, parked) end
if type(known) == 'table' then return naming(attempts, known) end
local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, group)
if consumers.err then return consumers end

if holder and holder ~= me then
  local left = redis.call('PTTL', reclaimer)
  if left >= 0 then return {'is ' .. whole(left)} end
end
local begun = begin_writing(stream)
if type(begun) == 'table' then return begun end
redis.call('SET', reclaimer, me, 'PX', ARGV[2])
local out = {now, 0}
-- This question has waited for Redis, as the refreshes of the living do: what is idle now is not dead.
if now - tonumber(ARGV[6]) > tonumber(ARGV[7]) then return out end

-- After the second crash the pause is 1 s, and doubles up to 60 s.
local function pause(crashed)
  if crashed < 2 then return 0 end
  return math.min(60000, 1000 * 2 ^ math.min(crashed - 2, 10))
end

local function move(entry, consumer, idle, deliveries)
  local there, err = give(stream, group, DELAYED, entry)
  if err then return err end
  if not there then return end
  local record = touched(record_of(attempts, entry), now)
  local marked = record.started == deliveries
  local wait = 0
  if record.crashed == 0 or marked then
    record.crashed = record.crashed + 1
    wait = pause(record.crashed)
  end
  if record.dying ~= '-' and marked then record.state = 'alive' end
  if record.error == '' then
    record.error = 'its consumer ' .. string.sub(consumer, 1, 200) .. ' was not heard of for ' .. whole(idle) .. ' ms'
  end
  redis.call('ZADD', delayed, whole(now + wait), entry)
  write_record(attempts, entry, record)
  out[#out + 1] = entry
  out[#out + 1] = record.crashed
end

local left = count
for _, flat in ipairs(consumers) do
  local consumer = {}
  for i = 1, #flat, 2 do consumer[flat[i]] = flat[i + 1] end
  if consumer.pending > 0 and consumer.name ~= DELAYED and consumer.name ~= me then
    local idle = redis.call('XPENDING', stream, group, 'IDLE', ARGV[4], '-', '+', left, consumer.name)
    for _, p in ipairs(idle) do
      local err = move(p[1], p[2], p[3], p[4])
      if err then return err end
    end
    left = left - #idle
    if left <= 0 then
      out[2] = 1
      break
    end
  end
end
return out
