#!lua flags=allow-oom
-- use: now_us, ttl_of, hold, enter, enter_namespace
-- Enter items into the indexes of a namespace, as their records say; leave out those whose record is gone.
-- KEYS: recency expiry [namespace-index x3] [index, record*]
-- ARGV: name of their namespace, how many of these keys are the namespace-index (0 or 3), whether the others are
--   declared (0 or 1), (key, member, time in us, end in ms or 0)*
local recency, expiry = KEYS[1], KEYS[2]
local now = math.floor(now_us() / 1000)
local above, own = tonumber(ARGV[2]), ARGV[3] == '1'
for i = 4, #ARGV, 4 do
  local key, member, us, ends = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  if not own or call('EXISTS', KEYS[3 + above + i / 4]) == 1 then
    enter(recency, expiry, member, us, ends, now)
    if above > 0 then enter_namespace(KEYS[3], KEYS[4], KEYS[5], ARGV[1], us, ends, now) end
    if own then
      local index = KEYS[3 + above]
      local before = ttl_of(index)
      call('ZADD', index, 0, key)
      hold(index, before, ends > 0 and ends - now or 0)
    end
  end
end
return 1
