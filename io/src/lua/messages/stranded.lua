-- Puts what is parked without being due ever among what is due: somebody has deleted a key. A page at a time.
-- KEYS: stream delayed. ARGV: group, where to begin in ms, count.
-- Reply: where to go on in ms, or -1; how many there were.
local stream, delayed, group = KEYS[1], KEYS[2], ARGV[1]
local now, start, stranded = whole(now_ms()), ARGV[2] .. '-0', 0
local first = start
while true do
  local parked = redis.pcall('XPENDING', stream, group, start, '+', ARGV[3], DELAYED)
  if parked.err then return parked end
  if not parked[1] then return {-1, stranded} end
  local entries = {}
  for i, p in ipairs(parked) do entries[i] = p[1] end
  local scores = redis.call('ZMSCORE', delayed, unpack(entries))
  for i, score in ipairs(scores) do
    if not score then
      local added = redis.pcall('ZADD', delayed, now, entries[i])
      if type(added) == 'table' then return added end
      stranded = stranded + 1
    end
  end
  if #parked < tonumber(ARGV[3]) then return {-1, stranded} end
  local last = string.match(entries[#entries], '^(%d+)%-')
  -- On with the last one's millisecond; a page that holds nothing but one is followed by the next at once.
  if last .. '-0' ~= first then return {tonumber(last), stranded} end
  start = '(' .. entries[#entries]
end
