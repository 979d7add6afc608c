#!lua flags=allow-oom
-- use: now_us, number, sane, enter, miss
-- Enter items into the indexes of their namespace, as their records say; forget those whose record is gone.
-- KEYS: recency expiry index state record*
-- ARGV: (key, updated_at, the same in us)*: one that was put again since is left alone
local now, latest = math.floor(now_us() / 1000), 0
for i = 1, #ARGV, 3 do
  local key, record = ARGV[i], KEYS[4 + (i + 2) / 3]
  local stamp = call('HGET', record, 'updated_at')
  if not stamp then miss(KEYS[1], KEYS[2], KEYS[3], false, key, now)
  elseif stamp == ARGV[i + 1] then
    local ends = math.max(0, call('PEXPIRETIME', record))
    enter(KEYS[1], KEYS[2], KEYS[3], KEYS[4], key, tonumber(ARGV[i + 2]), ends, now)
    latest = math.max(latest, tonumber(ARGV[i + 2]))
  end
end
if latest > (sane(tonumber(call('HGET', KEYS[4], 'last') or nil)) or 0) then
  -- Of a state that is made here nothing else is known, so writers take care.
  local is_new = call('EXISTS', KEYS[4]) == 0
  call('HSET', KEYS[4], 'last', number(latest), 'ends', 1)
  if is_new and call('PTTL', KEYS[3]) >= 0 then call('PEXPIRE', KEYS[4], call('PTTL', KEYS[3]) + KEPT) end
end
return 1
