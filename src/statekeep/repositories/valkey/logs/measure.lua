#!lua flags=allow-oom
-- Measure a log.
-- KEYS: log
-- Returns the number of its values, the bytes that they take, by a sample, and 1; where the server does not tell, the
-- length of the first values times their number, and 0.
local log = KEYS[1]
local count = call('LLEN', log)
if count == 0 then return {0, 0, 1} end
local used = redis.pcall('MEMORY', 'USAGE', log, 'SAMPLES', '100')
if type(used) == 'number' then return {count, used, 1} end
local bytes, sample = 0, call('LRANGE', log, 0, 99)
for _, element in ipairs(sample) do bytes = bytes + #element end
return {count, math.floor(bytes / #sample * count), 0}
