-- Takes new announcements without waiting (DESIGN 5.1). Guarantees: with `share`, this consumer ends up with no more
-- pending than its even part of all announcements, so that the first to come leaves something to the others.
-- KEYS: lbs. ARGV: group, consumer, count, share 0/1, how long ago a live consumer was heard of at most, in ms.
-- Reply: 1 if the share held it back and more remain, else 0; then the entries, `{id, {field, value, …}}`.
local lbs, group, me = KEYS[1], ARGV[1], ARGV[2]
local count, live_within = tonumber(ARGV[3]), tonumber(ARGV[5])
local n = count

if ARGV[4] == '1' then
  -- To be heard of: a read behind every possible entry. Redis before 7.2 does not notice those that get nothing.
  redis.pcall('XREADGROUP', 'GROUP', group, me, 'COUNT', 1, 'STREAMS', lbs, '18446744073709551615-0')
  local live, own = 1, 0
  local consumers = redis.pcall('XINFO', 'CONSUMERS', lbs, group)
  if consumers.err then return consumers end
  for _, flat in ipairs(consumers) do
    local consumer = {}
    for i = 1, #flat, 2 do consumer[flat[i]] = flat[i + 1] end
    if consumer.name == me then
      own = consumer.pending
    elseif consumer.idle <= live_within then
      live = live + 1
    end
  end
  local fair = math.ceil(redis.call('XLEN', lbs) / live)
  n = math.min(count, math.max(0, fair - own))
end

local entries = {}
if n > 0 then
  local read = redis.pcall('XREADGROUP', 'GROUP', group, me, 'COUNT', n, 'STREAMS', lbs, '>')
  if read and read.err then return read end
  entries = read and read[1] and read[1][2] or {}
end

local more = 0
if n < count and #entries == n then
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', lbs)) do
    local about = {}
    for i = 1, #flat, 2 do about[flat[i]] = flat[i + 1] end
    if about.name == group and redis.call('XRANGE', lbs, '(' .. about['last-delivered-id'], '+', 'COUNT', 1)[1] then
      more = 1
    end
  end
end
return {more, unpack(entries)}
