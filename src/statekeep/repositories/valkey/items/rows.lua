#!lua flags=allow-oom
-- Look whether records are there, and read others. KEYS: records   ARGV: of how many it is only asked whether they are
-- Returns 1 or 0 for each of these, and the FIELDS of each of the others, one after the other.
local reply, asked = {}, tonumber(ARGV[1])
for i, record in ipairs(KEYS) do
  if i <= asked then
    reply[#reply + 1] = call('EXISTS', record)
  else
    for _, value in ipairs(call('HMGET', record, unpack(FIELDS))) do reply[#reply + 1] = value end
  end
end
return reply
