-- Shared by the scripts on messages: it stands in front of them when they are sent, behind common.lua.

-- The consumer under whose name parked messages are pending.
local DELAYED = '~delayed'

-- Milliseconds since 1970 by Redis's clock.
local function now_ms()
  return math.floor(clock() / 1000)
end

-- Says which key it is that holds something else than it should.
local function naming(key, reply)
  if string.sub(reply.err, 1, 9) ~= 'WRONGTYPE' then return reply end
  return redis.error_reply('WRONGTYPE the key `' .. key .. '` holds something else than it should')
end

-- What went wrong with a message, from `M:G:attempts`. `counted` and `started` are delivery counts: whose failure was
-- counted last, and whose run was marked. `dying`: the reason, or `-`. `state`: `-`; `alive` (it is to be buried without
-- `process_dead`); `gone:<deliveries>` (its payload went while it was held with that count); `buried`.
-- nil: none. One that cannot be read counts as none, and stands as the error.
local function read_record(text)
  if not text then return nil end
  local failed, counted, crashed, started, dying, state, first, last, err =
    string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%S+) (%S+) (%d+) (%d+) (.*)$')
  if not failed then
    return {
      failed = 0, counted = 0, crashed = 0, started = 0, dying = '-', state = '-', first = 0, last = 0,
      error = 'this record cannot be read: ' .. string.sub(text, 1, 200),
    }
  end
  return {
    failed = tonumber(failed), counted = tonumber(counted), crashed = tonumber(crashed), started = tonumber(started),
    dying = dying, state = state, first = tonumber(first), last = tonumber(last), error = err,
  }
end

-- The record of a message about which something is to be written now.
local function touched(record, now)
  record = record or {failed = 0, counted = 0, crashed = 0, started = 0, dying = '-', state = '-', first = 0, error = ''}
  if record.first == 0 then record.first = now end
  record.last = now
  return record
end

local function write_record(attempts, entry, r)
  return redis.pcall('HSET', attempts, entry, string.format('%s %s %s %s %s %s %s %s %s', whole(r.failed),
    whole(r.counted), whole(r.crashed), whole(r.started), r.dying, r.state, whole(r.first), whole(r.last), r.error))
end

-- The record of one message: the record or nil, and what is wrong if the key holds something else.
local function record_of(attempts, entry)
  local text = redis.pcall('HGET', attempts, entry)
  if type(text) == 'table' then return nil, 'broken ' .. naming(attempts, text).err end
  return read_record(text)
end

-- Counts a failure, once for each delivery.
local function count_failure(record, deliveries, err)
  if record.counted ~= deliveries then
    record.failed, record.counted, record.error = record.failed + 1, deliveries, err
  end
end

-- Whether a message is held: pending under this name with this delivery count. Answers nil if it is, else `gone` or
-- `lost`; and who has it. An error comes third.
local function fenced(stream, group, me, entry, deliveries)
  local p, err = pending(stream, group, entry)
  if err then return nil, nil, err end
  if not p then return 'gone' end
  if p[2] == me and p[4] == deliveries then return nil end
  return 'lost', p
end

-- Gives a pending message to somebody without counting a delivery: true, or false if its payload is gone; then it is
-- pending no more. It takes no memory: what comes behind it passes when memory is full.
local function give(stream, group, to, entry)
  local claimed = redis.pcall('XCLAIM', stream, group, to, '0', entry, 'JUSTID')
  if claimed.err then return nil, claimed end
  return claimed[1] and not emptied(stream, group, entry) or false
end

-- Notes that the payload of a message went while it was held: only its holder may bury it from memory.
local function note_gone(attempts, entry, deliveries)
  local record, broken = record_of(attempts, entry)
  if broken then return end
  record = touched(record, now_ms())
  record.state = 'gone:' .. whole(deliveries)
  write_record(attempts, entry, record)
end

-- Redis does not stop a script that has begun to write, and it lets this begin when memory is full. There is no group
-- without a name: nothing is acknowledged.
local function begin_writing(stream)
  return redis.pcall('XACK', stream, '', '0-1')
end

-- Whether this group reads the stream, and no other does.
local function only_group(stream, group)
  local groups = redis.call('XINFO', 'GROUPS', stream)
  return #groups == 1 and groups[1][2] == group
end

-- Fields as one text: `<length>:<bytes>` by turns, as names and values stand in a stream.
local function unpack_fields(text)
  local fields, at = {}, 1
  while at <= #text do
    local length, from = string.match(text, '^(%d+):()', at)
    length = tonumber(length)
    if not length or from + length - 1 > #text then return nil end
    fields[#fields + 1] = string.sub(text, from, from + length - 1)
    at = from + length
  end
  return #fields > 0 and #fields % 2 == 0 and fields or nil
end

