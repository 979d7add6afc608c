#!lua flags=allow-oom
-- use: now_us, number, position_of
-- Read the first values of a log behind a position, or its last ones, and start its TTL anew if all keys are given.
-- KEYS: log [life ends]   ARGV: position, how many or '', whether they are the last (0 or 1), name
-- Returns the log's key, and the elements.
local log, life, ends = KEYS[1], KEYS[2], KEYS[3]
if life then
  local ttl = tonumber(call('GET', life) or nil)
  call('ZCARD', ends)
  call('LLEN', log)
  if ttl and ttl > 0 and ttl % 1 == 0 and call('PTTL', log) >= 0 then
    local ends_at = number(math.floor(now_us() / 1000) + ttl)
    call('ZADD', ends, ends_at, ARGV[4])
    call('PEXPIREAT', log, ends_at)
    call('PEXPIREAT', life, ends_at)
  end
end
local after, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
if ARGV[3] == '1' then return {log, call('LRANGE', log, limit and -limit or 0, -1)} end
local first = 0
if after > 0 then
  -- The first element behind the position is among those from `first` on and before `last`, or is that.
  local last, step = call('LLEN', log), 1
  while first < last do
    -- Mostly few are new, so begin near the end.
    local middle = math.max(math.floor((first + last) / 2), last - step)
    step = step * 4
    local position = position_of(call('LINDEX', log, middle))
    -- None of ours. The client finds it and says so.
    if not position then return {log, call('LRANGE', log, 0, -1)} end
    if position > after then last = middle else first = middle + 1 end
  end
end
return {log, call('LRANGE', log, first, limit and first + limit - 1 or -1)}
