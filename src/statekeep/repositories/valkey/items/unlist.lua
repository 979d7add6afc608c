#!lua flags=allow-oom
-- use: now_us, miss
-- Forget items in the indexes of a namespace, unless they were put again since.
-- KEYS: recency expiry index [vectors]   ARGV: how long they must have been left alone in us, (member, the greatest
--   time in us)*
-- Returns the members of those that have not ended.
local now, least, lost = now_us(), tonumber(ARGV[1]), {}
for i = 2, #ARGV, 2 do
  local score = tonumber(call('ZSCORE', KEYS[1], ARGV[i]) or nil)
  -- Times may be ahead of this node's clock: by little if another node gave them, by any if others wrote the record.
  if score and score <= tonumber(ARGV[i + 1]) and math.abs(now - score) >= least then
    if miss(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[i], math.floor(now / 1000)) then lost[#lost + 1] = ARGV[i] end
  end
end
return lost
