#!lua flags=allow-oom
-- use: now_us, drop_ended
-- The keys of a namespace, but those of items that have ended. KEYS: recency expiry index [vectors]
-- ARGV: '1' for the greatest first, else ''; the bounds in this order; how many keys are looked at
-- Returns how many there were, the last of them, and (key)* of those that have not ended.
local now = math.floor(now_us() / 1000)
local listed = ARGV[1] == '1' and call('ZREVRANGEBYLEX', KEYS[3], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
  or call('ZRANGEBYLEX', KEYS[3], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
local reply = {#listed, listed[#listed] or ''}
if call('ZCARD', KEYS[2]) == 0 then
  for i, key in ipairs(listed) do reply[i + 2] = key end
  return reply
end
for first = 1, #listed, 2000 do
  local last = math.min(first + 1999, #listed)
  for i, ends in ipairs(call('ZMSCORE', KEYS[2], unpack(listed, first, last))) do
    if not ends or tonumber(ends) >= now then reply[#reply + 1] = listed[first + i - 1] end
  end
end
drop_ended(KEYS[1], KEYS[2], KEYS[3], KEYS[4], now)
return reply
