#!lua flags=allow-oom
-- use: now_us, drop_ended
-- Forget some of what has ended in a namespace. KEYS: recency expiry index [vectors]
-- Returns how much that was, and how many items are left.
local dropped = drop_ended(KEYS[1], KEYS[2], KEYS[3], KEYS[4], math.floor(now_us() / 1000))
return {dropped, call('ZCARD', KEYS[3])}
