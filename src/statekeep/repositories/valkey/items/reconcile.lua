#!lua flags=allow-oom
-- use: now_us, number, enter, leave, advance
-- In a cluster: say what has become of items that were announced, unless they were announced again since. Those that
-- were put are entered if somebody removed them: a deletion of what was put before.
-- KEYS: recency expiry [clock]
-- ARGV: (member, the greatest time of an announcement, the true time or '' if there is no such item, the true end in ms,
--   0 for never, or '' to leave what is there)*
local now = math.floor(now_us() / 1000)
for i = 1, #ARGV, 4 do
  local member, us, ends = ARGV[i], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  if us and KEYS[3] then advance(KEYS[3], us) end
  local score = tonumber(call('ZSCORE', KEYS[1], member) or nil)
  if not score or score <= tonumber(ARGV[i + 1]) then
    if not us then leave(KEYS[1], KEYS[2], member)
    elseif ends then enter(KEYS[1], KEYS[2], member, us, ends > 0 and ends + GRACE or 0, now)
    elseif score then call('ZADD', KEYS[1], number(us), member) end
  end
end
return 1
