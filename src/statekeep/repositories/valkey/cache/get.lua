#!lua flags=allow-oom
-- Read entries. KEYS: records   ARGV: fields   Returns for each record what is in these fields.
local rows = {}
for i, record in ipairs(KEYS) do rows[i] = call('HMGET', record, unpack(ARGV)) end
return rows
