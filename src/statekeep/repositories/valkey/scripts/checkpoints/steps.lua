#!lua flags=allow-oom
-- Read what the walk to the ancestors needs of many checkpoints.
-- KEYS: writes, record*   ARGV: number of channels, encoded channel*, one encoded id per record
-- Returns per record: {id or '', parent id or '', whether its list of channels is whole}, {field of a stored value of
-- the channels*}, {member*}; 0 for one that is not there.
local writes, count = KEYS[1], tonumber(ARGV[1])
local wanted = {}
for i = 2, count + 1 do wanted[ARGV[i]] = true end
local reply = {}
for i = 2, #KEYS do
  local row = call('HMGET', KEYS[i], 'checkpoint_id', 'parent_id', 'channels')
  local stored, members = {}, {}
  local whole = row[3] and (row[3] == '' or string.sub(row[3], -1) == ' ')
  for _, name in ipairs(fields_of(row[3])) do
    if wanted[string.match(name, '^[^:]*')] then stored[#stored + 1] = name end
  end
  for _, member in ipairs(members_of(writes, ARGV[count + i])) do
    if wanted[last_part(member)] then members[#members + 1] = member end
  end
  if row[1] or row[3] or call('EXISTS', KEYS[i]) == 1 then
    reply[#reply + 1] = {{row[1] or '', row[2] or '', whole and 1 or 0}, stored, members}
  else
    reply[#reply + 1] = 0
  end
end
return reply
