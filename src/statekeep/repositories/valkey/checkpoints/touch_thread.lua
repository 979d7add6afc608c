#!lua
-- use: now_us, touch_thread
-- Note that a thread was updated; or take that back, unless another update was noted since.
-- KEYS: thread-index x3, (metadata-index by value, by thread, whole)*
-- ARGV: thread, ttl in ms, the time that was noted, the time before it; or thread, ttl in ms, tag for each index of metadata
-- Returns the time noted, the one before it (none: the thread is new), and (thread, time)* of threads that may have ended.
local thread = ARGV[1]
local before = call('ZSCORE', KEYS[1], thread)
local indexes = (#KEYS - 3) / 3
if #ARGV == indexes + 4 then
  if before == ARGV[3] then
    for i = 1, indexes do
      local whole = KEYS[3 * i + 3]
      if call('ZSCORE', whole, thread) == before then call('ZADD', whole, ARGV[4], thread) end
    end
    call('ZADD', KEYS[1], ARGV[4], thread)
  end
  return {ARGV[4], ARGV[3]}
end
local us = now_us()
if indexes > 0 then
  -- use: taken_tags, index_metadata
  index_metadata(4, taken_tags(indexes), thread, before, us)
end
local ended = touch_thread(KEYS[1], KEYS[2], KEYS[3], thread, us, tonumber(ARGV[2]))
return {call('ZSCORE', KEYS[1], thread), before, unpack(ended)}
