#!lua flags=allow-oom
-- use: now_us
-- Make an index of metadata know of threads what was seen, unless they were put to since. All of such a thread is in the
-- index then. Threads that the index of threads does not have are forgotten.
-- KEYS: thread-index by time, metadata-index by value, by thread, whole, rest
-- ARGV: least age in microseconds, (thread, time of its last update, '' for none, '*' for any, numbers of tags that it has,
--   and that it has not, tag*)*; of one updated at any time, it is not known whether these are all
local by_time, by_value, by_thread, whole, rest = unpack(KEYS)
local latest = now_us() - tonumber(ARGV[1])
local at = 2
while at <= #ARGV do
  local thread, seen = ARGV[at], ARGV[at + 1]
  local first = at + 4
  local first_gone = first + tonumber(ARGV[at + 2])
  at = first_gone + tonumber(ARGV[at + 3])
  local is_any = seen == '*'
  if is_any or (call('ZSCORE', by_time, thread) or '') == seen and (seen == '' or tonumber(seen) <= latest) then
    local beginning = #thread .. ':' .. thread
    for i = first, first_gone - 1 do
      call('ZADD', by_value, 0, ARGV[i] .. thread)
      call('ZADD', by_thread, 0, beginning .. ARGV[i])
    end
    for i = first_gone, at - 1 do
      call('ZREM', by_value, ARGV[i] .. thread)
      call('ZREM', by_thread, beginning .. ARGV[i])
    end
    if not is_any then
      if seen == '' then call('ZREM', whole, thread) else call('ZADD', whole, seen, thread) end
      call('ZREM', rest, thread)
    end
  end
end
return 1
