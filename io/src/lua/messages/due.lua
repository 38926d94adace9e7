-- Takes what is due, and moves messages that were sent with a delay into the stream (docs/messages.md). Guarantees:
--  * only what is parked is taken: what is due and held by somebody is left to them;
--  * what has lost its payload is acknowledged and forgotten, and the answer says so;
--  * if a key holds something else than it should, nothing is taken, and the answer names it; messages that were sent
--    with a delay go on all the same;
--  * a delayed message is delayed or in the stream, never both and never neither; when Redis is out of memory it stays
--    delayed, while retries go on;
--  * if the answer is lost, what was taken is pending under this consumer's name.
-- KEYS: stream delayed attempts scheduled bodies. ARGV: group, consumer, count, most delayed messages to move.
-- Reply: now in ms; in how many ms the next is due, or -1; what is wrong with the delayed messages, or ''; then for each
--        message `{id, deliveries, {field, value, …} or nil, record or nil}`.
local stream, delayed, attempts, scheduled, bodies = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local group, me = ARGV[1], ARGV[2]
local now = now_ms()
local out = {now, -1, ''}

-- What can go wrong goes wrong here, before anything is written.
local due = redis.pcall('ZRANGEBYSCORE', delayed, '-inf', whole(now), 'LIMIT', 0, ARGV[3])
local odd = due.err and naming(delayed, due)
local records = due[1] and redis.pcall('HMGET', attempts, unpack(due)) or {}
if records.err then due, odd = {}, naming(attempts, records) end

local function take(entry, record)
  local p, err = pending(stream, group, entry)
  if err then
    -- Not an id at all: nothing of ours.
    if string.find(err.err, 'Invalid stream ID', 1, true) then return end
    return err
  end
  if p and p[2] ~= DELAYED then return end
  if p then
    local claimed = redis.pcall('XCLAIM', stream, group, me, '0', entry)
    if claimed.err then return claimed end
    -- `or false`: a list in an answer ends at the first nil.
    out[#out + 1] = {entry, p[4] + 1, claimed[1] and claimed[1][2] or false, record}
    if claimed[1] then return end
    redis.call('XACK', stream, group, entry)
  end
  redis.call('HDEL', attempts, entry)
end

for i, entry in ipairs(due) do
  local err = take(entry, records[i])
  if err then return err end
end
if due[1] then redis.call('ZREM', delayed, unpack(due)) end

-- Moves one delayed message. Answers an error if it must stay.
local function move(id)
  local body = redis.pcall('HGET', bodies, id)
  if type(body) == 'table' then return body end
  if body then
    -- Written by somebody else: a worker will see what it is.
    local fields = unpack_fields(body) or {'body', body}
    if #fields > 6000 then fields = {'body', body} end
    local added = redis.pcall('XADD', stream, '*', unpack(fields))
    if type(added) == 'table' and added.err then return added end
  end
  redis.call('ZREM', scheduled, id)
  redis.call('HDEL', bodies, id)
end

local late = redis.pcall('ZRANGEBYSCORE', scheduled, '-inf', whole(now), 'LIMIT', 0, ARGV[4])
local wrong = late.err
for _, id in ipairs(late) do
  local err = move(id)
  if err then
    wrong = err.err
    break
  end
end
if odd then return odd end
if wrong then out[3] = wrong end

local function next_in(zset, at_least)
  local first = redis.pcall('ZRANGE', zset, '0', '0', 'WITHSCORES')
  if first.err or not first[1] then return end
  -- Somebody may have set a time that no answer can hold.
  local wait = math.min(math.max(at_least, math.ceil(tonumber(first[2]) - now)), 1e12)
  if out[2] < 0 or wait < out[2] then out[2] = wait end
end
next_in(delayed, 0)
-- What cannot be moved just now is not asked for again at once.
next_in(scheduled, wrong and 1000 or 0)
return out
