#!lua flags=allow-oom
-- use: number, update_namespace
-- Index the entries that have a record, to end as that does, and forget the others. Returns how many have one.
-- KEYS: (index, index of namespaces)*, records
-- ARGV: number of indexes, (namespace, how many of the entries are in it)*, keys
local indexes = tonumber(ARGV[1])
local key, record, found = 2 + 2 * indexes, 2 * indexes + 1, 0
for i = 1, indexes do
  local index = KEYS[2 * i - 1]
  for _ = 1, tonumber(ARGV[2 * i + 1]) do
    local ends = call('PEXPIRETIME', KEYS[record])
    if ends == -2 then
      call('ZREM', index, ARGV[key])
    else
      call('ZADD', index, ends == -1 and 'inf' or number(ends), ARGV[key])
      found = found + 1
    end
    key, record = key + 1, record + 1
  end
  update_namespace(index, KEYS[2 * i], ARGV[2 * i])
end
return found
