#!lua flags=allow-oom
-- use: records_at
-- Read checkpoints of one or several namespaces of a thread; each channel value once, however many use it.
-- KEYS: per namespace: values, writes, expiry, pending, one record per checkpoint
-- ARGV: per namespace: number of checkpoints, encoded id*
-- Returns per namespace: {{field of a record*, pk}*}, {value*}, lines of pending writes, {member of one without a line*}
local at, key, reply = 1, 1, {}
while at <= #ARGV do
  local number = tonumber(ARGV[at])
  reply[#reply + 1] = records_at(key, at + 1, number)
  at, key = at + number + 1, key + number + 4
end
return reply
