#!lua flags=allow-oom
-- Make the copy of the newest checkpoint anew, if the record given is the newest.
-- An older one does not take the place of a copy that is there, unless told so: it may be of a record that was evicted.
-- KEYS: head checkpoints record   ARGV: id, 1 to replace a copy
-- Returns the newest id of the index, which is the one given if the copy was made; nothing if that one has no record.
local newest = call('ZRANGE', KEYS[2], -1, -1)[1]
if newest ~= ARGV[1] then return newest end
if not ARGV[2] and call('EXISTS', KEYS[1]) == 1 then return newest end
if call('COPY', KEYS[3], KEYS[1], 'REPLACE') == 0 then
  call('DEL', KEYS[1])
  return false
end
return newest
