#!lua flags=allow-oom
-- use: now_us, miss
-- Forget items of a namespace whose record is gone. KEYS: recency expiry index [vectors] record*   ARGV: key*
-- Returns the keys of those that have not ended.
local others, now, lost = #KEYS - #ARGV, math.floor(now_us() / 1000), {}
for i = 1, #ARGV do
  if call('EXISTS', KEYS[others + i]) == 0 and miss(KEYS[1], KEYS[2], KEYS[3], others == 4 and KEYS[4], ARGV[i], now) then
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
