-- Puts dead letters back into the stream, with their original fields and without their story, each in one step: it is
-- in one of the two, never in both and never in neither. Asked again, it answers ''.
-- KEYS: stream dead. ARGV: ids of dead letters.
-- Reply: for each its new id in the stream, '' if it is not there, or `broken <why>`.
local stream, dead = KEYS[1], KEYS[2]

-- The fields that a message had.
local function originals(letter)
  local fields = {}
  for at = 1, #letter, 2 do
    local name = string.match(letter[at], '^original:(.*)$')
    if name then
      fields[#fields + 1] = name
      fields[#fields + 1] = letter[at + 1]
    elseif letter[at] == 'originals' then
      fields = unpack_fields(letter[at + 1]) or {}
    end
  end
  return fields
end

local function retry(id)
  local letter = payload(dead, id)
  if not letter then return '' end
  local fields = originals(letter)
  if #fields == 0 then return 'broken it holds no fields of a message: read it with XRANGE, then drop it' end
  if #fields > 6000 then return 'broken it has more than 3000 fields: send it by hand, then drop it' end
  local entry = redis.pcall('XADD', stream, '*', unpack(fields))
  if type(entry) == 'table' and entry.err then return nil, entry end
  redis.call('XDEL', dead, id)
  return entry
end

local out = {}
for i, id in ipairs(ARGV) do
  local err
  out[i], err = retry(id)
  if err then return err end
end
return out
