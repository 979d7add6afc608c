#!lua
-- use: parts_of, decoded
-- In front of put.lua: go on only if the newest checkpoint is the one expected, or the one that is put, as after a put
-- whose answer was lost.
-- KEYS: as of put.lua   ARGV: as of put.lua, and at the end the id that is expected, empty for no checkpoint.
-- Returns -5 and the newest id, empty for none, if it is another; -4 if the copy of the newest has to be made anew first.
local expected_head = table.remove(ARGV)
local newest_id = call('HGET', KEYS[1], 'checkpoint_id')
if not newest_id and call('EXISTS', KEYS[3]) == 1 then return {-4} end
if (newest_id or '') ~= expected_head then
  local _, _, put_id = parts_of(KEYS[8])
  if newest_id ~= decoded(put_id) then return {-5, newest_id or ''} end
end
