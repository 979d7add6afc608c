#!lua flags=allow-oom
-- Delete channel values that nothing refers to, unless a checkpoint was put since they were found.
-- KEYS: values expiry   ARGV: generation, field*
if call('HGET', KEYS[1], 'generation') ~= ARGV[1] then return 0 end
for i = 2, #ARGV do
  call('HDEL', KEYS[1], ARGV[i])
  call('ZREM', KEYS[2], 'v' .. ARGV[i])
end
return 1
