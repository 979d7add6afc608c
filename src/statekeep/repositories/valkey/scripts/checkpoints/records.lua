#!lua flags=allow-oom
-- Read checkpoints of one or several namespaces of a thread; each channel value once, however many use it.
-- KEYS: per namespace: values, writes, expiry, pending, one record per checkpoint
-- ARGV: number of fields, field* (channels last), then per namespace: number of checkpoints, encoded id*
-- Returns per namespace: {{field of a record*}*}, {value*}, lines of pending writes, {member of one without a line*}
local count = tonumber(ARGV[1])
local at, key, reply = count + 2, 1, {}
while at <= #ARGV do
  local number = tonumber(ARGV[at])
  local values, writes, expiry, pending = unpack(KEYS, key, key + 3)
  local rows, members, fields, seen = {}, {}, {}, {}
  for i = 1, number do
    local row = call('HMGET', KEYS[key + 3 + i], unpack(ARGV, 2, count + 1))
    rows[i] = row
    for _, name in ipairs(fields_of(row[count])) do
      if not seen[name] then
        seen[name] = true
        fields[#fields + 1] = name
      end
    end
    for _, member in ipairs(members_of(writes, ARGV[at + i])) do members[#members + 1] = member end
  end
  local lines, bare = lines_of(pending, expiry, members)
  reply[#reply + 1] = {rows, values_of(values, fields), lines, bare}
  at, key = at + number + 1, key + number + 4
end
return reply
