#!lua
-- use: now_us, number, each_chunk, earlier_answer, answer, position_of, drop_ended, leave, looked_at
-- Store values behind all others of a log, or in their place.
-- KEYS: log life names ends clock call
-- ARGV: until, kept, name, ttl in ms or 0, whether the others go (0 or 1), the position that the last one must have (0:
--   there must be none) or '', value*
-- Returns 'done' and the number of values, or 'conflict' and the position of the last one (0: there is none), or 'damaged'
-- if that has none.
local log, life, names, ends, clock = unpack(KEYS, 1, 5)
local name, ttl, replaces, expected = ARGV[3], tonumber(ARGV[4]), ARGV[5] == '1', ARGV[6]
local us = now_us()
local kept = earlier_answer(us)
if kept then return unpack(kept) end
local count = looked_at(log, life, names, ends)
local given = tonumber(call('GET', clock) or nil)
local last = count > 0 and position_of(call('LINDEX', log, -1))
if expected ~= '' and count > 0 and not last then return answer({'damaged'}) end
last = last or 0
if expected ~= '' and last ~= tonumber(expected) then return answer({'conflict', number(last)}) end

local now = math.floor(us / 1000)
drop_ended(names, ends, now)
if replaces then
  if count > 0 then call('UNLINK', log) end
  count = 0
end
if #ARGV < 7 then
  leave(life, names, ends, name)
  return answer({'done', '0'})
end

-- Greater than all that were given in this shard, also to logs that are gone. Others may have stored any number.
if not (given and given < 9007199254740000 and given % 1 == 0) then given = 0 end
if last >= 9007199254740000 then last = 0 end
local before = math.max(us, given + 1, last + 1) - 7
local values = {}
for i = 7, #ARGV do values[i - 6] = number(before + i) .. ' ' .. ARGV[i] end
each_chunk(values, function(from, to) call('RPUSH', log, unpack(values, from, to)) end)
call('SET', clock, number(before + #ARGV))
call('ZADD', names, 0, name)
if ttl > 0 then
  call('PEXPIREAT', log, number(now + ttl))
  call('SET', life, number(ttl), 'PXAT', number(now + ttl))
  call('ZADD', ends, number(now + ttl), name)
else
  call('PERSIST', log)
  call('DEL', life)
  call('ZREM', ends, name)
end
return answer({'done', number(count + #values)})
