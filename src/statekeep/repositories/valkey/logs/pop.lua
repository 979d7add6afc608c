#!lua flags=allow-oom
-- use: now_us, earlier_answer, answer, leave, looked_at
-- Remove the first or the last values of a log.
-- KEYS: log life names ends clock call   ARGV: until, kept, name, LPOP or RPOP, how many
-- Returns 'done', the log's key, and the elements in their order.
local log, life, names, ends = unpack(KEYS, 1, 4)
local kept = earlier_answer(now_us())
if kept then return unpack(kept) end
local count, n = looked_at(log, life, names, ends), tonumber(ARGV[5])
local popped
if n < count then
  local first, last = 0, n - 1
  if ARGV[4] == 'RPOP' then first, last = -n, -1 end
  popped = call('LRANGE', log, first, last)
  if ARGV[4] == 'RPOP' then call('LTRIM', log, 0, -n - 1) else call('LTRIM', log, n, -1) end
else
  popped = call('LRANGE', log, 0, -1)
  call('UNLINK', log)
  leave(life, names, ends, ARGV[3])
end
return answer({'done', log, popped})
