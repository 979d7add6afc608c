#!lua flags=allow-oom
-- use: decoded, records_at
-- List the newest checkpoints of a namespace; if they are the expected ones, and there is no other namespace, read them.
-- KEYS: checkpoints, values, writes, expiry, pending, one record per expected checkpoint, [namespaces]
-- ARGV: how many at most, upper limit ('+' or '(ID'), encoded id of an expected one*
-- Returns {id*}, {namespace*} if asked for, {what records.lua returns of a namespace} if they were read.
local count = #ARGV - 2
local ids = call('ZREVRANGEBYLEX', KEYS[1], ARGV[2], '-', 'LIMIT', 0, ARGV[1])
local namespaces = KEYS[count + 6] and call('ZRANGE', KEYS[count + 6], 0, -1) or {}
local expected = #ids > 0 and #ids == count and #namespaces < 2
for i = 1, count do expected = expected and ids[i] == decoded(ARGV[i + 2]) end
return {ids, namespaces, expected and {records_at(2, 3, count)} or {}}
