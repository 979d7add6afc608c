#!lua flags=allow-oom
-- use: now_us, restore_writes, state_of
-- List what a namespace holds, some at a time, with the time and the namespace's state.
-- KEYS: head values checkpoints writes expiry pending
-- ARGV: where the ids begin, where the index members of pending writes begin ('-' or '(...'), how many of each
-- Returns the time in milliseconds, the state, whether records may be missing in the indexes, ids, members.
local head, values, checkpoints, writes, expiry, pending = unpack(KEYS)
restore_writes(writes, pending)
local ids = call('ZRANGEBYLEX', checkpoints, ARGV[1], '+', 'LIMIT', 0, ARGV[3])
local members = call('ZRANGEBYLEX', writes, ARGV[2], '+', 'LIMIT', 0, ARGV[3])
local is_incomplete = call('HEXISTS', values, 'incomplete') == 1
if call('ZCARD', checkpoints) == 0 then is_incomplete = call('EXISTS', head, values) > 0 end
return {math.floor(now_us() / 1000), state_of(values, checkpoints, writes, expiry), is_incomplete and 1 or 0, ids, members}
