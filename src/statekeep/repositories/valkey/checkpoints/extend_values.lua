#!lua flags=allow-oom
-- use: now_us, ttl_of, hold, outlast, prolong, fields_of
-- Let channel values live as long as the records that use them, whose TTL others may have changed.
-- KEYS: values expiry record*
local values, expiry = KEYS[1], KEYS[2]
local before = ttl_of(values)
if before == -2 then return 0 end
local now, longest = math.floor(now_us() / 1000), -1
for i = 3, #KEYS do
  local left = call('PTTL', KEYS[i])
  if left ~= -2 then
    local entries = {}
    for _, name in ipairs(fields_of(call('HGET', KEYS[i], 'channels'))) do entries[#entries + 1] = 'v' .. name end
    prolong(expiry, entries, left == -1 and '+inf' or string.format('%.0f', now + left))
    if left == -1 then longest = 0 elseif longest ~= 0 then longest = math.max(longest, left, 1) end
  end
end
if longest >= 0 then hold(values, before, longest) end
outlast(expiry, {values})
return 1
