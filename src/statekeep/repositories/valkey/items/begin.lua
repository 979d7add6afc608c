#!lua
-- use: now_us, number, sane, last_gone, last_appended, other_unit
-- The number of the last value that was appended to a namespace. One that has none begins with the time, so that its
-- keys are behind all that were appended, and removed, before.
-- KEYS: sequence state [clock, namespace-index by name of other units, unit, namespace-index by name]
-- ARGV: a time before which nothing is put, in microseconds, unit or ''
local refused = KEYS[4] and other_unit(KEYS[6], KEYS[4], KEYS[5], ARGV[2])
if refused then return refused end
local last = last_appended(KEYS[1])
if last then return number(last) end
local latest = sane(tonumber(call('HGET', KEYS[2], 'last') or nil)) or 0
local first = math.max(now_us(), latest + 1, tonumber(ARGV[1]) + 1, KEYS[3] and last_gone(KEYS[3]) + 1 or 0)
call('SET', KEYS[1], number(first), 'PX', 60000)
return number(first)
