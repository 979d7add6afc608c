#!lua
-- use: now_us, number, next_time, last_appended
-- The number of the last value that was appended to a namespace. One that has none begins with the time, so that its
-- keys are behind all that were appended, and removed, before.
-- KEYS: sequence recency clock (in a cluster: deletion)
local last = last_appended(KEYS[1])
if last then return number(last) end
local first = number(next_time(KEYS[2], now_us(), KEYS[3]))
call('SET', KEYS[1], first, 'PX', 60000)
return first
