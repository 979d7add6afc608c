#!lua
-- use: now_us, touch_thread
-- Note that a thread was updated; or take that back, unless another update was noted since.
-- KEYS: thread-index x2   ARGV: thread, [the time that was noted, the time before it]
-- Returns the time noted, and the one before it (none: the thread is new).
local before = call('ZSCORE', KEYS[1], ARGV[1])
if ARGV[2] then
  if before == ARGV[2] then call('ZADD', KEYS[1], ARGV[3], ARGV[1]) end
  return {ARGV[3], ARGV[2]}
end
touch_thread(KEYS[1], KEYS[2], ARGV[1], now_us())
return {call('ZSCORE', KEYS[1], ARGV[1]), before}
