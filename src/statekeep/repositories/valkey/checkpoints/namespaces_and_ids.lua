#!lua flags=allow-oom
-- The namespaces of threads, and the newest checkpoints of the root namespace of each.
-- KEYS: (namespaces, checkpoints)*   ARGV: how many of each, upper limit ('+' or '(ID')
-- Returns ({namespace*}, {id*})*.
local reply = {}
for i = 1, #KEYS, 2 do
  reply[i] = call('ZRANGE', KEYS[i], 0, -1)
  reply[i + 1] = call('ZREVRANGEBYLEX', KEYS[i + 1], ARGV[2], '-', 'LIMIT', 0, ARGV[1])
end
return reply
