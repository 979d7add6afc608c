#!lua flags=allow-oom
-- Read checkpoints of one or several namespaces of a thread; each channel value once, however many use it.
-- KEYS: per namespace: values, writes, one record per checkpoint
-- ARGV: number of fields, field*, then per namespace: number of checkpoints, encoded id*
-- Returns per namespace: {(field values)* with the first one missing where there is no record}, {value*}, {{member*}*}
local count = tonumber(ARGV[1])
local at, key, reply = count + 2, 1, {}
while at <= #ARGV do
  local number = tonumber(ARGV[at])
  local values, writes = KEYS[key], KEYS[key + 1]
  local rows, members, fields, seen = {}, {}, {}, {}
  for i = 1, number do
    local record = KEYS[key + 1 + i]
    local row = call('HMGET', record, unpack(ARGV, 2, count + 1))
    for j = 1, count do rows[#rows + 1] = row[j] end
    for _, name in ipairs(fields_of(call('HGET', record, 'channels'))) do
      if not seen[name] then
        seen[name] = true
        fields[#fields + 1] = name
      end
    end
    members[i] = members_of(writes, ARGV[at + i])
  end
  reply[#reply + 1] = {rows, values_of(values, fields), members}
  at, key = at + number + 1, key + number + 2
end
return reply
