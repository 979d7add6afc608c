#!lua flags=allow-oom
-- Read a checkpoint with its channel values and the index members of its pending writes.
-- KEYS: values checkpoints writes record-or-head
-- ARGV: encoded id ('' for the newest), field* (checkpoint_id first, channels last)
-- Returns {pk, field*}, {value*}, {member*}; without a record, the number of checkpoints in the index.
local values, checkpoints, writes, record = unpack(KEYS, 1, 4)
local row = call('HMGET', record, 'pk', unpack(ARGV, 2))
if not row[2] and call('EXISTS', record) == 0 then return call('ZCARD', checkpoints) end
local encoded_id = ARGV[1]
if encoded_id == '' then encoded_id = string.match(row[1] or '', '[^:]*$') end
return {row, values_of(values, fields_of(row[#ARGV])), members_of(writes, encoded_id)}
