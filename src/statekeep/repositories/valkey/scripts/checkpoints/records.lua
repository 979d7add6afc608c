#!lua flags=allow-oom
-- Read checkpoints of one or several namespaces of a thread; each channel value once, however many use it.
-- KEYS: per namespace: values, writes, expiry, pending, one record per checkpoint
-- ARGV: per namespace: number of checkpoints, encoded id*
-- Returns per namespace: {{field of a record*, pk}*}, {value*}, lines of pending writes, {member of one without a line*}
local at, key, reply = 1, 1, {}
while at <= #ARGV do
  local number = tonumber(ARGV[at])
  local values, writes, expiry, pending = unpack(KEYS, key, key + 3)
  local rows, members, size, fields, seen = {}, {}, 0, {}, {}
  for i = 1, number do
    rows[i] = row_of(KEYS[key + 3 + i])
    for _, name in ipairs(fields_of(rows[i][7])) do
      if not seen[name] then
        seen[name] = true
        fields[#fields + 1] = name
      end
    end
    local own = members_of(writes, ARGV[at + i])
    for j = 1, #own do members[size + j] = own[j] end
    size = size + #own
  end
  local lines, bare = lines_of(pending, expiry, members)
  reply[#reply + 1] = {rows, values_of(values, fields), lines, bare}
  at, key = at + number + 1, key + number + 4
end
return reply
