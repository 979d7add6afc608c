#!lua flags=allow-oom
-- use: now_us
-- Forget the names of logs that are gone.
-- KEYS: (names, ends, log)*   ARGV: name*
-- Returns the names of those that had not ended: others deleted them, or the server evicted them.
local now, lost = math.floor(now_us() / 1000), {}
for i, name in ipairs(ARGV) do
  local names, ends, log = unpack(KEYS, 3 * i - 2, 3 * i)
  if call('EXISTS', log) == 0 then
    local ends_at = tonumber(call('ZSCORE', ends, name) or nil)
    if call('ZREM', names, name) == 1 and not (ends_at and ends_at <= now + 1000) then lost[#lost + 1] = name end
    call('ZREM', ends, name)
  end
end
return lost
