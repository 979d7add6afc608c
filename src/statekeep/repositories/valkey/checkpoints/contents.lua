#!lua flags=allow-oom
-- use: restore_writes
-- List what namespaces hold: checkpoint ids, newest first, and index members of pending writes; of as many namespaces as
-- the number of both allows; and (with one more key) the thread's namespaces.
-- Of each namespace it says whether its records may be more than its indexes know, because one of them was evicted.
-- KEYS: (checkpoints writes head values pending)*, [namespaces]   ARGV: how many ids and members at most
local left, reply = tonumber(ARGV[1]), {}
for i = 1, #KEYS - 4, 5 do
  if left == 0 then break end
  local ids, members = call('ZREVRANGE', KEYS[i], 0, left - 1), {}
  left = left - #ids
  if left > 0 then
    members = call('ZRANGE', KEYS[i + 1], 0, left - 1)
    if #members == 0 and restore_writes(KEYS[i + 1], KEYS[i + 4]) then
      members = call('ZRANGE', KEYS[i + 1], 0, left - 1)
    end
  end
  left = left - #members
  local is_incomplete = redis.pcall('HEXISTS', KEYS[i + 3], 'incomplete') == 1
  if #ids == 0 then is_incomplete = call('EXISTS', KEYS[i + 2], KEYS[i + 3]) > 0 end
  local at = #reply
  reply[at + 1], reply[at + 2], reply[at + 3] = ids, members, is_incomplete and 1 or 0
end
if #KEYS % 5 == 1 then reply[#reply + 1] = call('ZRANGE', KEYS[#KEYS], 0, -1) end
return reply
