#!lua
-- Store pending writes of one checkpoint. Returns nothing, or its run, if the index of that has to live longer (else ''),
-- and the index members of its other writes that would end long before it.
-- KEYS: head values checkpoints writes expiry namespaces pending record, one record per write
-- ARGV: id, encoded id, namespace, ttl in ms, thread, where the pk begins in a write's key,
--   (member, task_id, task_path, idx, channel, encoding, value, encoded path, encoded encoding)*
local head, values, checkpoints, writes, expiry, namespaces, pending, record = unpack(KEYS, 1, 8)
local id, encoded_id, namespace, ttl, thread = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local pk_at = tonumber(ARGV[6])

local mortal = ttl > 0 or has_ends(expiry, namespaces)
local shared = {writes, expiry, namespaces, pending}
local before, now, ends = {}
if mortal then
  now = math.floor(now_us() / 1000)
  ends = string.format('%.0f', now + ttl)
  drop_expired(values, checkpoints, writes, pending, expiry, now, #ARGV)
  for i, key in ipairs(shared) do before[i] = ttl_of(key) end
end

-- How many of the records are there already; mostly none, and then there is no need to ask for each.
local there = 0
for first = 9, #KEYS, 2000 do there = there + call('EXISTS', unpack(KEYS, first, math.min(first + 1999, #KEYS))) end

local index, entries, seen = {}, {}, {}
for i = 9, #KEYS do
  local key, at = KEYS[i], 7 + 9 * (i - 9)
  local member, task, path, idx, channel, encoding, value = unpack(ARGV, at, at + 6)
  local last_wins = string.byte(idx) == 45
  if last_wins or not seen[key] and (there == 0 or call('EXISTS', key) == 0) then
    seen[key] = true
    local entry = entry_of(ARGV[at + 7], ARGV[at + 8], value)
    if last_wins then
      for _, old in ipairs(members_of(writes, string.match(member, '^(.*):'))) do
        call('ZREM', writes, old)
        call('HDEL', pending, old)
      end
      call('DEL', key)
      call('ZADD', writes, 0, member)
      if entry then call('HSET', pending, member, entry) end
    else
      index[#index + 1], index[#index + 2] = 0, member
      if entry then entries[#entries + 1], entries[#entries + 2] = member, entry
      else call('HDEL', pending, member) end
    end
    call('HSET', key, 'pk', string.sub(key, pk_at), 'thread_id', thread, 'namespace', namespace, 'checkpoint_id', id,
      'task_id', task, 'task_path', path, 'idx', idx, 'channel', channel, 'encoding', encoding, 'value', value)
    if ttl > 0 then
      call('PEXPIRE', key, ttl)
      call('ZADD', expiry, ends, 'w' .. member)
    elseif mortal then
      call('ZREM', expiry, 'w' .. member)
    end
  end
end
add('ZADD', writes, index)
add('HSET', pending, entries)
call('ZADD', namespaces, 'NX', 0, namespace)
if not mortal then return {} end
for i, key in ipairs(shared) do hold(key, before[i], ttl) end
outlast(expiry, {values, writes})

local behind = {}
if ttl > 0 then
  behind[1] = refresh(record, head, values, checkpoints, writes, expiry, namespaces, pending, id, ttl, now) or ''
  for _, member in ipairs(members_of(writes, encoded_id)) do
    local score = call('ZSCORE', expiry, 'w' .. member)
    if score and tonumber(score) < now + ttl * 0.9 then behind[#behind + 1] = member end
  end
  if #behind == 1 and behind[1] == '' then return {} end
end
return behind
