#!lua flags=allow-oom
-- use: now_us, merged
-- The items of some namespaces, the last put first.
-- KEYS: (recency expiry index [vectors])*
-- ARGV: how many keys are of one namespace, the greatest time, how many items
-- Returns the numbers of namespaces whose order lacks some items, (number of the namespace, key, time)*, and the numbers
-- of those that have none from that time on.
return merged(1, tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), math.floor(now_us() / 1000))
