#!lua flags=allow-oom
-- use: now_us, ttl_of, hold, outlast, entry_of
-- Make index entries true: add those of records that exist, drop those of records that do not.
-- KEYS: index expiry namespaces pending record*   ARGV: kind (c or w), namespace, member*
-- Returns how many exist, and the members that the index had, and that have not ended, without a record.
local index, expiry, namespaces, pending = unpack(KEYS, 1, 4)
local kind, namespace = ARGV[1], ARGV[2]
local now = math.floor(now_us() / 1000)
local before = {ttl_of(index), ttl_of(expiry), ttl_of(namespaces), ttl_of(pending)}
local count, longest, lost = 0, -1, {}

local function encoded(text)
  return (string.gsub(text, '[^%w_~-]', function(byte) return string.format('%%%02X', string.byte(byte)) end))
end

-- Let what readers look at be what the record says; of a record that is damaged they have to look at itself.
local function copy_write(record, member)
  local path, encoding, value = unpack(call('HMGET', record, 'task_path', 'encoding', 'value'))
  local whole = path and value and (encoding or '') ~= '' and string.find(value, '^[%w+/]*=*$')
  call('HSET', pending, member, whole and entry_of(encoded(path) .. ':' .. encoded(encoding), value) or '')
end

for i = 3, #ARGV do
  local left = call('PTTL', KEYS[i + 2])
  if kind == 'w' then call('ZREM', expiry, 'm' .. string.match(ARGV[i], '^[^:]*')) end
  if kind == 'w' and left ~= -2 then copy_write(KEYS[i + 2], ARGV[i]) end
  if left == -2 then
    if kind == 'w' then call('HDEL', pending, ARGV[i]) end
    local ends = tonumber(call('ZSCORE', expiry, kind .. ARGV[i]) or nil)
    if call('ZREM', index, ARGV[i]) == 1 and (not ends or ends > now + 1000) then lost[#lost + 1] = ARGV[i] end
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
  for i = 1, kind == 'w' and 4 or 3 do hold(KEYS[i], before[i], longest) end
  outlast(expiry, {index})
end
return {count, lost}
