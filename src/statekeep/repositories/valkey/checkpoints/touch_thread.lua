#!lua
-- use: now_us, touch_thread
-- Note that a thread was updated; or take that back, unless another update was noted since.
-- KEYS: thread-index x3   ARGV: thread, ttl in ms, [the time that was noted, the time before it]
-- Returns the time noted, the one before it (none: the thread is new), and (thread, time)* of threads that may have ended.
local before = call('ZSCORE', KEYS[1], ARGV[1])
if ARGV[3] then
  if before == ARGV[3] then call('ZADD', KEYS[1], ARGV[4], ARGV[1]) end
  return {ARGV[4], ARGV[3]}
end
local ended = touch_thread(KEYS[1], KEYS[2], KEYS[3], ARGV[1], now_us(), tonumber(ARGV[2]))
return {call('ZSCORE', KEYS[1], ARGV[1]), before, unpack(ended)}
