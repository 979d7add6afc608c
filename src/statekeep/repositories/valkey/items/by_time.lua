#!lua flags=allow-oom
-- use: now_us, drop_ended, in_time
-- The keys of a namespace by the time of the last put. KEYS: recency expiry index [vectors]
-- ARGV: '1' for the last put first, else ''; the time behind which they are, or ''; the time up to which, or ''; how many;
-- a text that they begin with
-- Returns 1 if the order lacks some items, else 0; the latest time of all; the time that was reached, '' if there is
-- nothing behind it; and the keys.
local recency, index = KEYS[1], KEYS[3]
local lacks = call('ZCARD', index) > call('ZCARD', recency) and 1 or 0
local latest = call('ZREVRANGE', recency, 0, 0, 'WITHSCORES')[2] or ''
local found, reached = in_time(recency, index, ARGV[1] == '1', ARGV[2], ARGV[3], ARGV[5], tonumber(ARGV[4]))
drop_ended(recency, KEYS[2], index, KEYS[4], math.floor(now_us() / 1000))
return {lacks, latest, reached or '', found}
