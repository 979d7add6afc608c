#!lua flags=allow-oom
-- use: values_of
-- Read pending writes, and channel values.
-- KEYS: values, record*   ARGV: field of a value*
-- Returns {(task_path, channel, encoding, value, pk)*}, {value*}
local rows = {}
for i = 2, #KEYS do
  for _, value in ipairs(call('HMGET', KEYS[i], 'task_path', 'channel', 'encoding', 'value', 'pk')) do
    rows[#rows + 1] = value
  end
end
return {rows, values_of(KEYS[1], ARGV)}
