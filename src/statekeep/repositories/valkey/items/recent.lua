#!lua flags=allow-oom
-- use: now_us, drop_ended
-- The items at or below a namespace, the last put first.
-- KEYS: recency expiry index [vectors]   ARGV: the greatest time, how many   Returns (member, time)*.
drop_ended(KEYS[1], KEYS[2], KEYS[3], KEYS[4], math.floor(now_us() / 1000))
return call('ZREVRANGEBYSCORE', KEYS[1], ARGV[1], '-inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
