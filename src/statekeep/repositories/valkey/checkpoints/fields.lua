#!lua flags=allow-oom
-- Read some fields of many records of a thread.
-- KEYS: record*   ARGV: field*
local rows = {}
for _, record in ipairs(KEYS) do
  for _, value in ipairs(call('HMGET', record, unpack(ARGV))) do rows[#rows + 1] = value end
end
return rows
