-- Shared by the scripts of the first half: it stands in front of them when they are sent, behind common.lua.

-- A record of S-fences: who owned a stream last. nil: none; false: not one of ours.
local function read_record(text)
  if not text then return nil end
  local token, entry, ttl, gained, released, takeovers, failures, not_before, value =
    string.match(text, '^(%d+) (%d+%-%d+) (%d+) (%d+) ([01]) (%d+) (%d+) (%d+) (.*)$')
  if not token then return false end
  return {
    token = tonumber(token), entry = entry, ttl = tonumber(ttl), gained = tonumber(gained),
    released = released == '1', takeovers = tonumber(takeovers), failures = tonumber(failures),
    not_before = tonumber(not_before), value = value,
  }
end

local function write_record(r)
  return string.format('%s %s %d %s %s %d %d %s %s', whole(r.token), r.entry, r.ttl, whole(r.gained),
    r.released and '1' or '0', r.takeovers, r.failures, whole(r.not_before), r.value)
end

local BROKEN_RECORD = 'broken the record of this stream in S-fences cannot be read: delete it (HDEL)'

-- The record of one stream: the record or nil, and what is wrong if it cannot be read.
local function fence(fences, stream)
  local text = redis.pcall('HGET', fences, stream)
  if type(text) == 'table' then return nil, 'broken ' .. text.err end
  local record = read_record(text)
  if record == false then return nil, BROKEN_RECORD end
  return record
end

-- Which server this is, `run_id:master_replid`; empty where INFO is refused or does not tell.
local function identity()
  local server = redis.pcall('INFO', 'server')
  local replication = redis.pcall('INFO', 'replication')
  if type(server) ~= 'string' or type(replication) ~= 'string' then return '' end
  local run = string.match(server, 'run_id:([^\r\n]+)')
  local replid = string.match(replication, 'master_replid:([^\r\n]+)')
  return run and replid and run .. ':' .. replid or ''
end

-- The identity that the fleet has settled on; nil during a wait, or before the first.
local function settled_on(epoch)
  local id = redis.call('HGET', epoch, 'id')
  if not id or string.sub(id, 1, 5) == 'wait:' then return nil end
  return id
end

-- Whether Redis takes no writes at all for now: then nothing has changed, and the caller asks again.
local function refused(answer)
  local text = type(answer) == 'table' and answer.err
  -- Redis 6 puts the script's name and line before it.
  local code = text and (string.match(text, '^%-?(%u+)') or string.match(text, '^@user_script: ?%d+: %-?(%u+)'))
  return code == 'READONLY' or code == 'MISCONF' or code == 'NOREPLICAS'
end

-- Moves a pending announcement to S-dead. Answers an error if nothing was changed.
local function set_aside(a)
  local add = {'XADD', a.dead}
  if a.cap ~= '' then
    add[3], add[4], add[5] = 'MAXLEN', '~', a.cap
  end
  local about = {
    '*', 'entry', a.entry, 'stream', a.stream, 'reason', a.reason, 'error', a.error, 'consumer', a.consumer,
    'takeovers', whole(a.takeovers), 'failures', whole(a.failures), 'deliveries', whole(a.deliveries),
    'at_ms', whole(a.at_ms),
  }
  for i = 1, #about do add[#add + 1] = about[i] end
  -- More arguments than this cannot be unpacked; nobody but an attacker sends so many fields.
  for i = 1, math.min(#a.fields, 6000), 2 do
    add[#add + 1] = 'original:' .. a.fields[i]
    add[#add + 1] = a.fields[i + 1]
  end
  local added = redis.pcall(unpack(add))
  if type(added) == 'table' and added.err then return added end
  redis.call('XACK', a.lbs, a.group, a.entry)
  redis.call('XDEL', a.lbs, a.entry)
end
