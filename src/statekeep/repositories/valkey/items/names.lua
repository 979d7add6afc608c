#!lua flags=allow-oom
-- use: now_us, number, other_unit
-- Namespaces by name. KEYS: namespace-index, that of other units, unit   ARGV: from, to, how many, unit or ''
-- Returns the time in ms, name*.
local refused = other_unit(KEYS[1], KEYS[2], KEYS[3], ARGV[4])
if refused then return refused end
return {number(math.floor(now_us() / 1000)), unpack(call('ZRANGEBYLEX', KEYS[1], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3]))}
