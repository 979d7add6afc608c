#!lua flags=allow-oom
-- Note that a namespace has no checkpoints in the index. Values stay: `reindex` may find records that need them.
-- KEYS: head values checkpoints writes expiry namespaces pending   ARGV: namespace
local head, values, checkpoints, writes, _, namespaces = unpack(KEYS, 1, 6)
if call('ZCARD', checkpoints) > 0 then return 0 end
call('UNLINK', head)
if call('ZCARD', writes) == 0 and call('EXISTS', values) == 0 then call('ZREM', namespaces, ARGV[1])
else call('ZADD', namespaces, 'XX', 0, ARGV[1]) end
return 1
