#!lua flags=allow-oom
-- use: fields_of, values_of, last_part, row_of, lines_of, writes_of
-- Read a checkpoint with its channel values and its pending writes.
-- KEYS: values checkpoints writes expiry pending record-or-head
-- ARGV: encoded id ('' for the newest)
-- Returns {field*, pk}, {value*}, lines of pending writes, {member of a pending write without a line*}; without a record,
-- the number of checkpoints in the index.
local values, checkpoints, writes, expiry, pending, record = unpack(KEYS, 1, 6)
local row = row_of(record)
if not row[1] and call('EXISTS', record) == 0 then return call('ZCARD', checkpoints) end
local encoded_id = ARGV[1]
if encoded_id == '' then encoded_id = last_part(row[8] or '') end
local lines, bare = lines_of(pending, expiry, writes_of(writes, pending, encoded_id))
return {row, values_of(values, fields_of(row[7])), lines, bare}
