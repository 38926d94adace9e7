-- Trims the stream (docs/messages.md). Guarantees: nothing goes that any group has pending or unread, nothing while there
-- is no group, and none of the newest that are to be kept. Whole nodes go, as with Redis's own `~`: up to a hundred
-- entries more may stay.
-- KEYS: stream. ARGV: how many to keep, how many go in one call at most. Reply: how many went.
local stream = KEYS[1]
local groups = redis.pcall('XINFO', 'GROUPS', stream)
if groups.err then return groups end

-- Whether one id is smaller than another.
local function before(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)%-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)%-(%d+)$')
  -- As texts, since not every id fits a number of Lua's.
  if a_ms ~= b_ms then return #a_ms < #b_ms or #a_ms == #b_ms and a_ms < b_ms end
  return #a_seq < #b_seq or #a_seq == #b_seq and a_seq < b_seq
end

local bound
for _, flat in ipairs(groups) do
  local about = {}
  for i = 1, #flat, 2 do about[flat[i]] = flat[i + 1] end
  -- Up to what was delivered last; that one stays, even if it is done. A group that was set back has unread what stands
  -- before all that it has pending.
  local needs = about['last-delivered-id']
  if about.pending > 0 then
    local oldest = redis.call('XPENDING', stream, about.name)[2]
    if before(oldest, needs) then needs = oldest end
  end
  if not bound or before(needs, bound) then bound = needs end
end
local spare = math.min(redis.call('XLEN', stream) - tonumber(ARGV[1]), tonumber(ARGV[2]))
if not bound or spare <= 0 then return 0 end
return redis.pcall('XTRIM', stream, 'MINID', '~', bound, 'LIMIT', whole(spare))
