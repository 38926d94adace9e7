-- How many new announcements this consumer may take now (DESIGN 5.1), so that it ends up with no more pending than its
-- even part of all announcements, and the first to come leaves something to the others. Writes nothing.
-- KEYS: lbs. ARGV: group, consumer, count, how long ago a live consumer was heard of at most, in ms.
-- Reply: how many; and 1 if there are none for this consumer, but for others, else 0.
local lbs, group, me = KEYS[1], ARGV[1], ARGV[2]
local count, live_within = tonumber(ARGV[3]), tonumber(ARGV[4])

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
local n = math.min(count, math.max(0, fair - own))

local more = 0
if n == 0 then
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', lbs)) do
    local about = {}
    for i = 1, #flat, 2 do about[flat[i]] = flat[i + 1] end
    if about.name == group and redis.call('XRANGE', lbs, '(' .. about['last-delivered-id'], '+', 'COUNT', 1)[1] then
      more = 1
    end
  end
end
return {n, more}
