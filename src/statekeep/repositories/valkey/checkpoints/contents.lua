#!lua flags=allow-oom
-- List what namespaces hold: checkpoint ids, newest first, and index members of pending writes; of as many namespaces as
-- the number of both allows; and (with one more key) the thread's namespaces.
-- KEYS: (checkpoints writes)*, [namespaces]   ARGV: how many ids and members at most
local left, reply = tonumber(ARGV[1]), {}
for i = 1, #KEYS - 1, 2 do
  if left == 0 then break end
  local ids, members = call('ZREVRANGE', KEYS[i], 0, left - 1), {}
  left = left - #ids
  if left > 0 then members = call('ZRANGE', KEYS[i + 1], 0, left - 1) end
  left = left - #members
  reply[i], reply[i + 1] = ids, members
end
if #KEYS % 2 == 1 then reply[#reply + 1] = call('ZRANGE', KEYS[#KEYS], 0, -1) end
return reply
