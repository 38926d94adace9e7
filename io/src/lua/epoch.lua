-- Where the fleet stands with this server (DESIGN 5.8). Guarantees:
--  * a server that the fleet has not settled on is settled on only by somebody who has waited under the very
--    `wait:<nonce>` that stands there now, on this very server, for the longest ttl that is known of now; a wait that
--    was replaced starts again;
--  * a service that is being born need not wait: nobody has ever announced anything or owned anything, and the server
--    is not itself newly started;
--  * the longest ttl in use only grows;
--  * the consumer counts as heard of: Redis before 7.2 does not notice those that wait and get nothing;
--  * how many consumers live is counted again ten times a second at most, and for 1 % of Redis's time at most.
-- KEYS: epoch lbs token.
-- ARGV: the longest ttl that the caller knows of in ms, nonce, a stream has lived long 0/1, the caller is new 0/1, settling 0/1, the wait that was observed,
--       the identity that it was observed on, group, consumer, for how long it was observed in ms,
--       how long ago a live consumer was heard of at most, in ms.
-- Reply: identity (or ''), the wait that stands ('' if settled), the longest ttl in ms, live consumers (0: cannot be counted).
local epoch, lbs, token = KEYS[1], KEYS[2], KEYS[3]
local ttl, lived, fresh, settling = tonumber(ARGV[1]), ARGV[3] == '1', ARGV[4] == '1', ARGV[5] == '1'

-- A read behind every possible entry: nothing is handed out. It is also the first write, and takes no memory: out of
-- memory, Redis does not stop a script that has begun to write.
redis.pcall('XREADGROUP', 'GROUP', ARGV[8], ARGV[9], 'COUNT', 1, 'STREAMS', lbs, '18446744073709551615-0')

local here = identity()
local stands = redis.call('HMGET', epoch, 'id', 'ttl', 'lived', 'live')
local current, longest = stands[1], tonumber(stands[2] or 0) or 0
if ttl > longest then
  longest = ttl
  redis.pcall('HSET', epoch, 'ttl', whole(ttl))
end
if lived then
  local now = math.floor(clock() / 1000)
  if math.abs(now - (tonumber(stands[3] or 0) or 0)) > 1000 then redis.pcall('HSET', epoch, 'lived', whole(now)) end
end

local live, age = last_count(stands[4])
if not live or age >= math.max(100, live / 10) then
  local fleet = count_consumers(lbs, ARGV[8], ARGV[9], tonumber(ARGV[11]))
  live = fleet.live or 0
  if live > 0 then redis.pcall('HSET', epoch, 'live', whole(live) .. ' ' .. whole(math.floor(clock() / 1000))) end
elseif fresh then
  live = live + 1 -- a fleet that starts is of its size at once
  redis.pcall('HSET', epoch, 'live', whole(live) .. string.match(stands[4], ' %d+$'))
end

-- Nothing was ever announced here, and the server has been up for longer than any lease lives.
local function born()
  if redis.call('EXISTS', token) == 1 then return false end
  local up = redis.pcall('INFO', 'server')
  up = type(up) == 'string' and tonumber(string.match(up, 'uptime_in_seconds:(%d+)'))
  if not up or up * 1000 <= longest + 2000 then return false end
  if redis.call('EXISTS', lbs) == 0 then return true end
  local about = redis.pcall('XINFO', 'STREAM', lbs)
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then return about[i + 1] == '0-0' end
  end
  return false
end

local is_wait = current and string.sub(current, 1, 5) == 'wait:'
local settled = current and not is_wait and (current == here or here == '')
if settled then return {here, '', whole(longest), live} end

local write
if is_wait then
  local waited = settling and current == ARGV[6] and here == ARGV[7] and tonumber(ARGV[10]) >= longest
  if not waited then return {here, current, whole(longest), live} end
  write = here ~= '' and here or 'unknown'
elseif not current and fresh and born() then
  write = here ~= '' and here or 'unknown'
else
  write = 'wait:' .. ARGV[2]
end
local set = redis.pcall('HSET', epoch, 'id', write)
if type(set) == 'table' then return set end
return {here, string.sub(write, 1, 5) == 'wait:' and write or '', whole(longest), live}
