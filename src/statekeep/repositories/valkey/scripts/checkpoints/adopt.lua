#!lua flags=allow-oom
-- Make index entries true: add those of records that exist, drop those of records that do not.
-- KEYS: index expiry namespaces record*   ARGV: kind (c or w), namespace, member*
-- Returns how many exist.
local index, expiry, namespaces = unpack(KEYS, 1, 3)
local kind, namespace = ARGV[1], ARGV[2]
local now = math.floor(now_us() / 1000)
local before = {ttl_of(index), ttl_of(expiry), ttl_of(namespaces)}
local count, longest = 0, -1
for i = 3, #ARGV do
  local left = call('PTTL', KEYS[i + 1])
  if left == -2 then
    call('ZREM', index, ARGV[i])
    call('ZREM', expiry, kind .. ARGV[i])
  else
    count = count + 1
    call('ZADD', index, 0, ARGV[i])
    if left == -1 then
      longest = 0
      call('ZREM', expiry, kind .. ARGV[i])
    else
      if longest ~= 0 then longest = math.max(longest, left, 1) end
      call('ZADD', expiry, string.format('%.0f', now + left), kind .. ARGV[i])
    end
  end
end
if count > 0 then
  if kind == 'c' then call('ZADD', namespaces, 1, namespace)
  else call('ZADD', namespaces, 'NX', 0, namespace) end
  for i = 1, 3 do hold(KEYS[i], before[i], longest) end
  outlast(expiry, {index})
end
return count
