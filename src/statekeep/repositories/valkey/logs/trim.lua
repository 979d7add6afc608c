#!lua flags=allow-oom
-- use: now_us, number, earlier_answer, answer, leave, looked_at
-- Remove all values of a log but the last ones.
-- KEYS: log life names ends clock call   ARGV: until, kept, name, how many stay
-- Returns 'done' and how many were removed.
local log, life, names, ends = unpack(KEYS, 1, 4)
local kept = earlier_answer(now_us())
if kept then return unpack(kept) end
local count, keep = looked_at(log, life, names, ends), tonumber(ARGV[4])
if keep == 0 or count == 0 then
  call('UNLINK', log)
  leave(life, names, ends, ARGV[3])
elseif keep < count then
  call('LTRIM', log, -keep, -1)
end
return answer({'done', number(math.max(0, count - keep))})
