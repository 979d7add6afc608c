#!lua flags=allow-oom
-- use: members_of, restore_writes
-- List index members of pending writes: those of some checkpoints, or all behind a member.
-- KEYS: writes pending   ARGV: 'of', encoded id*   or: 'after', member or '', how many
restore_writes(KEYS[1], KEYS[2])
local found = {}
if ARGV[1] == 'after' then
  local from = ARGV[2] == '' and '-' or '(' .. ARGV[2]
  return call('ZRANGEBYLEX', KEYS[1], from, '+', 'LIMIT', 0, ARGV[3])
end
for i = 2, #ARGV do
  for _, member in ipairs(members_of(KEYS[1], ARGV[i])) do found[#found + 1] = member end
end
return found
