#!lua flags=allow-oom
-- How many items are in namespaces, and how many at or below them have ended. KEYS: (index, expiry)*   ARGV: time in ms
-- Returns (items, ended)*.
local reply = {}
for i = 1, #KEYS, 2 do
  reply[i] = call('ZCARD', KEYS[i])
  reply[i + 1] = call('ZCOUNT', KEYS[i + 1], '-inf', '(' .. ARGV[1])
end
return reply
