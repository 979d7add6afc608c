#!lua flags=allow-oom
-- How many items are in namespaces, how many of them are in the order of time, and how many have ended.
-- KEYS: (index, recency, expiry)*   ARGV: time in ms   Returns (items, in order, ended)*.
local reply = {}
for i = 1, #KEYS, 3 do
  reply[i] = call('ZCARD', KEYS[i])
  reply[i + 1] = call('ZCARD', KEYS[i + 1])
  reply[i + 2] = call('ZCOUNT', KEYS[i + 2], '-inf', '(' .. ARGV[1])
end
return reply
