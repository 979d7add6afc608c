#!lua flags=allow-oom
-- use: now_us, number
-- Namespaces by name. KEYS: namespace-index   ARGV: from, to, how many   Returns the time in ms, name*.
return {number(math.floor(now_us() / 1000)), unpack(call('ZRANGEBYLEX', KEYS[1], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3]))}
