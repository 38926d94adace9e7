-- Puts announcements that were set aside back into the LBS, with their original fields, each in one step: it is in
-- S-dead or in the LBS, never in both and never in neither.
-- KEYS: lbs dead. ARGV: ids in S-dead. Reply: for each its new id in the LBS, or '' if it is not in S-dead.
local lbs, dead = KEYS[1], KEYS[2]
local out = {}
for i = 1, #ARGV do
  local found = redis.call('XRANGE', dead, ARGV[i], ARGV[i])[1]
  local add = {'XADD', lbs, '*'}
  local fields = found and found[2] or {}
  for at = 1, #fields, 2 do
    local name = string.match(fields[at], '^original:(.*)$')
    if name then
      add[#add + 1] = name
      add[#add + 1] = fields[at + 1]
    end
  end
  out[i] = ''
  if #add > 3 then
    local entry = redis.pcall(unpack(add))
    if type(entry) == 'table' and entry.err then return entry end
    redis.call('XDEL', dead, ARGV[i])
    out[i] = entry
  end
end
return out
