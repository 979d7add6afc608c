#!lua flags=allow-oom
-- Measure the records of items.
-- KEYS: record*
-- Returns how many there are, the bytes that they take, and 1; where the server does not tell, those of their values, and
-- 0.
local count, bytes, tells = 0, 0, true
for _, record in ipairs(KEYS) do
  if call('EXISTS', record) == 1 then
    count = count + 1
    local used = tells and redis.pcall('MEMORY', 'USAGE', record, 'SAMPLES', '0')
    tells = type(used) == 'number'
    if tells then bytes = bytes + used
    else
      bytes = bytes + call('HSTRLEN', record, 'value')
    end
  end
end
return {count, bytes, tells and 1 or 0}
