#!lua
-- use: now_us, number, drop_ended, enter, enter_namespace, sane, next_time, advance
-- In a cluster: enter items that are about to be put into the indexes of a namespace above theirs.
-- KEYS: recency expiry index [vectors] [namespace-index x3, clock]
-- ARGV: microseconds or '', name of their namespace, (member, life in ms)*
-- The put comes later, and another node's clock counts then, so they end somewhat later here.
-- Returns the time of the first, in microseconds (each further item is one later), and how many of the items that are
-- there seem to end later, or never: they keep that, as the put may not come about.
local recency, expiry, index = KEYS[1], KEYS[2], KEYS[3]
local is_root = #KEYS > 4
local names = #KEYS - 3
local vectors = #KEYS % 4 == 0 and KEYS[4]
local present = now_us()
local now = math.floor(present / 1000)
drop_ended(recency, expiry, index, vectors, now)
local first, kept = tonumber(ARGV[1]) or next_time(recency, present, is_root and KEYS[#KEYS]), 0
if is_root then advance(KEYS[#KEYS], first + (#ARGV - 4) / 2) end
for i = 3, #ARGV, 2 do
  local member, life, us = ARGV[i], tonumber(ARGV[i + 1]), first + (i - 3) / 2
  local ends = life > 0 and now + life + GRACE or 0
  local there = tonumber(call('ZSCORE', recency, member) or nil)
  if there and ends > 0 then
    local known = tonumber(call('ZSCORE', expiry, member) or nil) or 0
    if known == 0 or known > ends then ends, kept = known, kept + 1 end
  end
  -- Somebody who was later above may have come here first.
  us = math.max(us, sane(there) or 0)
  enter(recency, expiry, member, us, ends, now)
  if is_root then enter_namespace(KEYS[names], KEYS[names + 1], KEYS[names + 2], ARGV[2], us, ends, now) end
end
return {number(first), kept}
