#!lua
-- use: now_us, number, each_chunk, earlier_answer, answer, position_of, drop_ended, looked_at
-- Store values of a log with their positions, in the place of all behind a position.
-- KEYS: log life names ends clock call
-- ARGV: until, kept, name, when the log ends in ms or '', the position behind which values go, the last position, element*
-- Returns 'done', also if nothing is stored as the end has passed, or 'damaged' if a value there has no position.
local log, life, names, ends, clock = unpack(KEYS, 1, 5)
local name, ends_at, after, last = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local us = now_us()
local kept = earlier_answer(us)
if kept then return unpack(kept) end
local now, count = math.floor(us / 1000), looked_at(log, life, names, ends)
local given = tonumber(call('GET', clock) or nil) or 0
if ends_at and ends_at <= now then return answer({'done'}) end

-- How many stay: those before the first that is behind the position.
local stay, high = 0, after > 0 and count or 0
while stay < high do
  local middle = math.floor((stay + high) / 2)
  local position = position_of(call('LINDEX', log, middle))
  if not position then return answer({'damaged'}) end
  if position > after then high = middle else stay = middle + 1 end
end

drop_ended(names, ends, now)
if stay > 0 and stay < count then call('LTRIM', log, 0, stay - 1) end
each_chunk(ARGV, function(from, to)
  if to > 6 then call('RPUSH', log, unpack(ARGV, math.max(from, 7), to)) end
end)
-- What is before them goes when they are there, so the key is there all the time.
if stay == 0 and count > 0 then call('LTRIM', log, count, -1) end
if not (given >= last) then call('SET', clock, number(last)) end
call('ZADD', names, 0, name)
if ends_at then
  call('PEXPIREAT', log, number(ends_at))
  call('SET', life, number(ends_at - now), 'PXAT', number(ends_at))
  call('ZADD', ends, number(ends_at), name)
else
  call('PERSIST', log)
  call('DEL', life)
  call('ZREM', ends, name)
end
return answer({'done'})
