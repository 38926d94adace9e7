-- Sets a malformed announcement aside: from the LBS to S-dead in one step, once; the answer is false (0) if it is not
-- pending any more.
-- KEYS: lbs dead. ARGV: group, cap of S-dead or '', entry, error. Reply: 1 or 0.
local lbs, dead, group, cap, entry = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local p, err = pending(lbs, group, entry)
if err then return err end
if not p then return 0 end
err = set_aside({
  lbs = lbs, group = group, dead = dead, cap = cap, entry = entry, stream = '', reason = 'malformed', error = ARGV[4],
  consumer = p[2], takeovers = 0, failures = 0, deliveries = p[4], at_ms = math.floor(clock() / 1000),
  fields = payload(lbs, entry) or {},
})
return err or 1
