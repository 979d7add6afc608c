#!lua
-- Store pending writes of one checkpoint. Returns nothing, or its run, if the index of that has to live longer (else ''),
-- and the index members of its other writes that would end long before it.
-- KEYS: head values checkpoints writes expiry namespaces record, one record per write
-- ARGV: id, encoded id, namespace, ttl in ms, thread, (member, pk, task_id, task_path, idx, channel, encoding, value)*
local head, values, checkpoints, writes, expiry, namespaces, record = unpack(KEYS, 1, 7)
local id, encoded_id, namespace, ttl, thread = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local now = math.floor(now_us() / 1000)
local ends = string.format('%.0f', now + ttl)

local mortal = ttl > 0 or has_ends(expiry, namespaces)
local shared = {writes, expiry, namespaces}
local before = {}
if mortal then
  drop_expired(values, checkpoints, writes, expiry, now, #ARGV)
  for i, key in ipairs(shared) do before[i] = ttl_of(key) end
end

for i = 8, #KEYS do
  local key, at = KEYS[i], 6 + 8 * (i - 8)
  local member, idx = ARGV[at], ARGV[at + 4]
  local last_wins = string.sub(idx, 1, 1) == '-'
  if last_wins or call('EXISTS', key) == 0 then
    if last_wins then
      for _, old in ipairs(members_of(writes, string.match(member, '^(.*):'))) do call('ZREM', writes, old) end
      call('DEL', key)
    end
    call('HSET', key, 'pk', ARGV[at + 1], 'thread_id', thread, 'namespace', namespace, 'checkpoint_id', id,
      'task_id', ARGV[at + 2], 'task_path', ARGV[at + 3], 'idx', idx, 'channel', ARGV[at + 5],
      'encoding', ARGV[at + 6], 'value', ARGV[at + 7])
    call('ZADD', writes, 0, member)
    if ttl > 0 then
      call('PEXPIRE', key, ttl)
      call('ZADD', expiry, ends, 'w' .. member)
    elseif mortal then
      call('ZREM', expiry, 'w' .. member)
    end
  end
end
call('ZADD', namespaces, 'NX', 0, namespace)
if mortal then
  for i, key in ipairs(shared) do hold(key, before[i], ttl) end
  outlast(expiry, {values, writes})
end

local behind = {}
if ttl > 0 then
  behind[1] = refresh(record, head, values, checkpoints, writes, expiry, namespaces, id, ttl, now) or ''
  for _, member in ipairs(members_of(writes, encoded_id)) do
    local score = call('ZSCORE', expiry, 'w' .. member)
    if score and tonumber(score) < now + ttl * 0.9 then behind[#behind + 1] = member end
  end
  if #behind == 1 and behind[1] == '' then return {} end
end
return behind
