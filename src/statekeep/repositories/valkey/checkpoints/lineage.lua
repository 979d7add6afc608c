#!lua flags=allow-oom
-- Where the walk to the ancestors of a checkpoint begins.
-- KEYS: checkpoints, record-or-head   ARGV: how many ids at most
-- Returns {id, parent id}, {smaller ids, newest first}; without a record, the number of checkpoints in the index.
if call('EXISTS', KEYS[2]) == 0 then return call('ZCARD', KEYS[1]) end
local row = call('HMGET', KEYS[2], 'checkpoint_id', 'parent_id')
return {row, call('ZREVRANGEBYLEX', KEYS[1], '(' .. (row[1] or ''), '-', 'LIMIT', 0, ARGV[1])}
