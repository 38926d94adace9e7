-- Who shares the service's streams: it stands in front of the scripts that ask, behind common.lua.

-- Goes through the consumers of the group, 1 µs each. Answers live: how many were heard of within so many ms, the caller
-- included; rank: how many of these have a smaller name; own: how many announcements are pending under the caller's. Or
-- an error.
local function count_consumers(lbs, group, me, live_within)
  local consumers = redis.pcall('XINFO', 'CONSUMERS', lbs, group)
  if consumers.err then return consumers end
  local fleet = {live = 1, rank = 0, own = 0}
  for _, flat in ipairs(consumers) do
    local consumer = {}
    for i = 1, #flat, 2 do consumer[flat[i]] = flat[i + 1] end
    if consumer.name == me then
      fleet.own = consumer.pending
    elseif consumer.idle <= live_within then
      fleet.live = fleet.live + 1
      if consumer.name < me then fleet.rank = fleet.rank + 1 end
    end
  end
  return fleet
end

-- How many there were when somebody last wrote it down, and how many ms ago that was; nothing if nobody has.
local function last_count(text)
  local live, at_ms = string.match(type(text) == 'string' and text or '', '^(%d+) (%d+)$')
  if live then return tonumber(live), math.abs(clock() / 1000 - tonumber(at_ms)) end
end

-- The fleet as count_consumers has it. In a crowd, more than `small`, it is not counted again: rank is 0 then, and own as
-- the caller says. If everybody counted, a crowd would cost the square of its size.
local function fleet_of(lbs, epoch, group, me, live_within, small, own)
  local live, age = last_count(redis.pcall('HGET', epoch, 'live'))
  if live and live > small and age < 10000 then return {live = live, rank = 0, own = own, is_crowd = true} end
  return count_consumers(lbs, group, me, live_within)
end

