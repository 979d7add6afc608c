#!lua flags=allow-oom
-- Make the copy of the newest checkpoint anew, if the record given is the newest.
-- KEYS: head checkpoints record   ARGV: id
-- Returns the newest id of the index, which is the one given if the copy was made; nothing if that one has no record.
local newest = call('ZRANGE', KEYS[2], -1, -1)[1]
if newest ~= ARGV[1] then return newest end
if call('COPY', KEYS[3], KEYS[1], 'REPLACE') == 0 then
  call('DEL', KEYS[1])
  return false
end
return newest
