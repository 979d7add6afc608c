#!lua flags=allow-oom
-- Measure the records of items.
-- KEYS: record*
-- Returns how many there are, and the bytes that they take. Where the server does not tell, it is those of their fields.
local count, bytes, tells = 0, 0, true
for _, record in ipairs(KEYS) do
  if call('EXISTS', record) == 1 then
    count = count + 1
    local used = tells and redis.pcall('MEMORY', 'USAGE', record, 'SAMPLES', '0')
    tells = type(used) == 'number'
    if tells then bytes = bytes + used
    else
      for _, name in ipairs(FIELDS) do bytes = bytes + call('HSTRLEN', record, name) end
    end
  end
end
return {count, bytes}
