-- Shared by the scripts of cache entries.
--
-- An index has the keys of one namespace, as far as they are in one shard, by their end; an index of namespaces has
-- those by the end of their last entry. Ends are milliseconds since 1970, or 'inf' for never.

-- Forget what has ended, which is below `bound`: some more than is added, so that an index that is used gets rid of
-- everything in time.
local function drop_ended(key, bound, added)
  local ended = call('ZRANGEBYSCORE', key, '-inf', bound, 'LIMIT', 0, added + 100)
  if #ended > 0 then call('ZREM', key, unpack(ended)) end
end

-- Have a key end with its last member; return that end, or nothing if the key has no members.
local function end_with_last(key)
  local last = call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]
  if last == 'inf' then call('PERSIST', key)
  elseif last then call('PEXPIREAT', key, last) end
  return last
end

-- Bring the index of namespaces up to date with an index.
-- use: end_with_last
local function update_namespace(index, namespaces, name)
  local last = end_with_last(index)
  if last then call('ZADD', namespaces, last, name) else call('ZREM', namespaces, name) end
  end_with_last(namespaces)
end
