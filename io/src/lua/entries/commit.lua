-- Commits positions, and the application's own writes with them (DESIGN 5.6). Guarantees:
--  * only by the owner: its lease stands;
--  * only if what the caller believes to stand there stands there;
--  * each item all or nothing: every write is tested before the first is made, and none that is tested so fails;
--  * asked again, it answers `done`, and changes nothing; for a commit with writes even after the lease has gone;
--  * each item is judged by itself;
--  * where Redis refuses to write (OOM, READONLY, MISCONF, NOREPLICAS), the call answers that, and nothing has changed:
--    it refuses only the first write of a script.
-- KEYS: checkpoints, then for each item its lease and the keys of its writes; if DEL is among these, another one at the
--       end that holds nothing.
-- ARGV: all in one text, `<length>:<bytes>` by turns, or one by one, for each item: stream, value of the lease, `from`
--       as position and mark, `to` as position, read and mark (`-`: none), how many writes; for each write its command,
--       how many arguments, and these without the key.
-- Reply: for each `done`, `conflict <record>`, `fenced`, `absent`, `rejected <index from 0> <why>` or `broken <error>`.
local checkpoints = KEYS[1]

-- The record of a stream: what it says in the one way that marks and positions are compared in.
local function stored(stream)
  local text = redis.pcall('HGET', checkpoints, stream)
  if type(text) == 'table' then return nil, 'broken ' .. text.err end
  if not text then return {text = '0-0 - -', position = '0-0', mark = '-'} end
  local ms, seq, rest = string.match(text, '^0*(%d+)%-0*(%d+)(.*)$')
  local mark = rest == '' and '-' or rest and string.match(rest, '^ [%d-]%d* (%S+)$')
  if not mark then
    return nil, 'broken the record of this stream in S-checkpoints cannot be read (write it with HSET, or remove it with '
      .. 'HDEL): ' .. text
  end
  return {text = text, there = true, position = ms .. '-' .. seq, mark = mark}
end

local function write_all(item, lease, record)
  local set = redis.pcall('HSET', checkpoints, item.stream, item.to)
  if type(set) == 'table' then return nil, set end
  local refused, why = tried(item.writes, lease)
  if refused then
    if record.there then
      redis.call('HSET', checkpoints, item.stream, record.text)
    else
      redis.call('HDEL', checkpoints, item.stream)
    end
    return 'rejected ' .. refused - 1 .. ' ' .. why
  end
  local failed
  for i, write in ipairs(item.writes) do
    local err = make(write)
    if err and not failed then failed = 'broken committed, but its write ' .. i - 1 .. ' failed: ' .. err end
  end
  return failed or 'done'
end

local function judge(item, lease)
  local record, broken = stored(item.stream)
  if broken then return broken end
  if item.to_mark ~= item.from_mark and record.mark == item.to_mark then return 'done' end
  local holder = redis.pcall('GET', lease)
  if not holder then return 'absent' end
  if type(holder) == 'table' then return 'broken ' .. holder.err end
  if holder ~= item.value then return 'fenced' end
  -- Where there is no record, even `0-0` is written: an empty stream was opened at its end.
  -- Nor does `0-0 - <mark>` say of a position that it was committed.
  if record.there and record.position == item.to_position and record.mark == item.to_mark
    and (record.text == item.to or item.from_position ~= item.to_position) then return 'done' end
  if record.position ~= item.from_position or record.mark ~= item.from_mark then return 'conflict ' .. record.text end
  local keys = {}
  for i, write in ipairs(item.writes) do
    local why = test(keys, write)
    if why then return 'rejected ' .. i - 1 .. ' ' .. why end
  end
  return write_all(item, lease, record)
end

local key, at = 1, 0

-- Not every server takes as many arguments as a commit may have.
local args = ARGV
if #ARGV == 1 then
  args = {}
  local text, from = ARGV[1], 1
  while from <= #text do
    local length, start = string.match(text, '^(%d+):()', from)
    args[#args + 1] = string.sub(text, start, start + length - 1)
    from = start + length
  end
end

-- The next key and the next arguments, as many as are asked for.
local function next_key()
  key = key + 1
  return KEYS[key]
end

local function next_args(n)
  at = at + n
  return unpack(args, at - n + 1, at)
end

local function next_write()
  local name, n = next_args(2)
  local write = {name = name, key = next_key(), args = {}}
  for i = 1, tonumber(n) do write.args[i] = next_args(1) end
  return write
end

local function next_item()
  local stream, value, position, mark, to_position, read, to_mark, n = next_args(8)
  local item = {
    stream = stream, value = value, from_position = position, from_mark = mark, to_position = to_position,
    to_mark = to_mark, to = to_position .. ' ' .. read .. ' ' .. to_mark, writes = {},
  }
  for i = 1, tonumber(n) do item.writes[i] = next_write() end
  return item
end

local out = {}
while at < #args do
  local lease = next_key()
  local answer, err = judge(next_item(), lease)
  if err then return err end
  out[#out + 1] = answer
end
return out
