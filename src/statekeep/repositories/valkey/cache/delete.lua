#!lua flags=allow-oom
-- use: update_namespace
-- Delete entries, and have the indexes forget them. Returns how many there were.
-- KEYS: (index, index of namespaces)*, records
-- ARGV: number of indexes, (namespace, how many of the entries are in it)*, keys
local indexes = tonumber(ARGV[1])
local first, record, deleted = 2 + 2 * indexes, 2 * indexes + 1, 0
for i = 1, indexes do
  local index, count = KEYS[2 * i - 1], tonumber(ARGV[2 * i + 1])
  if count > 0 then
    -- The index first: if it is of another type, nothing has happened yet.
    call('ZREM', index, unpack(ARGV, first, first + count - 1))
    deleted = deleted + call('UNLINK', unpack(KEYS, record, record + count - 1))
  end
  update_namespace(index, KEYS[2 * i], ARGV[2 * i])
  first, record = first + count, record + count
end
return deleted
