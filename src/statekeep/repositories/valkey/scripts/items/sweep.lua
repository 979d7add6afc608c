#!lua flags=allow-oom
-- Forget items of a namespace whose record is gone. KEYS: recency expiry index [vectors] record*   ARGV: member*
local others, now = #KEYS - #ARGV, math.floor(now_us() / 1000)
for i = 1, #ARGV do
  if call('EXISTS', KEYS[others + i]) == 0 then
    miss(KEYS[1], KEYS[2], KEYS[3], others == 4 and KEYS[4], ARGV[i], now)
  end
end
return 1
