#!lua flags=allow-oom
-- use: now_us, number, extend_expiry
-- In a cluster: extend the life of items in the indexes of a namespace above theirs.
-- KEYS: recency expiry [namespace-index x3]   ARGV: name of their namespace, (member, life in ms)*
local now = math.floor(now_us() / 1000)
for i = 2, #ARGV, 2 do
  local ends = now + tonumber(ARGV[i + 1]) + GRACE
  extend_expiry(KEYS[1], KEYS[2], ARGV[i], ends, now)
  if KEYS[3] and call('ZSCORE', KEYS[5], ARGV[1]) then call('ZADD', KEYS[5], 'GT', number(ends), ARGV[1]) end
end
return 1
