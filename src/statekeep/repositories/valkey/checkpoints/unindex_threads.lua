#!lua flags=allow-oom
-- use: now_us
-- Forget threads that are gone, unless they were updated since they were looked at.
-- KEYS: thread-index x3   ARGV: least age in microseconds, (thread, score)*
local latest = now_us() - tonumber(ARGV[1])
for i = 2, #ARGV, 2 do
  local score = call('ZSCORE', KEYS[1], ARGV[i])
  if score and tonumber(score) == tonumber(ARGV[i + 1]) and tonumber(score) <= latest then
    call('ZREM', KEYS[1], ARGV[i])
    call('ZREM', KEYS[2], ARGV[i])
    call('ZREM', KEYS[3], ARGV[i])
  end
end
return 1
