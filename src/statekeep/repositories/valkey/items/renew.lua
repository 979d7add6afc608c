#!lua flags=allow-oom
-- Put off the end of an item's record, if there is one. KEYS: record   ARGV: expires_at, the same in ms
if call('EXISTS', KEYS[1]) == 0 then return 0 end
call('HSET', KEYS[1], 'expires_at', ARGV[1])
call('PEXPIREAT', KEYS[1], ARGV[2])
return 1
