#!lua
-- Store pending writes of one checkpoint. Returns nothing, or its run, if the index of that has to live longer (else ''),
-- and the index members of its other writes that would end long before it. Without the checkpoint they end early, so that
-- what comes too late does not stay for ever, until the checkpoint is put; then it returns 1.
-- KEYS: head values checkpoints writes expiry namespaces pending record, one record per write
-- ARGV: ttl in ms, that without the checkpoint, 0 or where the rest begins, (index member, PATH:ENCODING, value)*,
--   all but the values encoded as parts of keys are;
--   the rest, if the writes are of one task and none of them replaces another: thread, namespace, checkpoint id, task id,
--   path, (idx, channel, encoding)*
local head, values, checkpoints, writes, expiry, namespaces, pending, record = unpack(KEYS, 1, 8)
local rest = tonumber(ARGV[3])

-- Mostly the checkpoint is there, none of the writes is, and nothing ends. EXISTS counts a key each time that it is named:
-- with the checkpoint it counts 4 or more, and 5 if there are copies without their index, which restore_writes is to mend.
if rest > 0 and ARGV[1] == '0' and call('EXISTS', expiry, unpack(KEYS, 9)) == 0 then
  local there = call('EXISTS', record, record, record, record, writes, writes, pending)
  local thread, namespace, id, task, path = unpack(ARGV, rest, rest + 4)
  if there >= 4 and there ~= 5 and call('ZSCORE', namespaces, namespace) then
    local pk_at = string.find(KEYS[9], '{', 1, true)
    local index, entries = {}, {}
    for i = 9, #KEYS do
      local key, at, more = KEYS[i], 3 * (i - 8) + 1, rest + 3 * (i - 8) + 2
      local member, value = ARGV[at], ARGV[at + 2]
      call('HSET', key, 'pk', string.sub(key, pk_at), 'thread_id', thread, 'namespace', namespace, 'checkpoint_id', id,
        'task_id', task, 'task_path', path, 'idx', ARGV[more], 'channel', ARGV[more + 1], 'encoding', ARGV[more + 2],
        'value', value)
      local n = 2 * (i - 8)
      index[n - 1], index[n] = 0, member
      entries[n - 1] = member
      -- As entry_of makes it.
      entries[n] = #value <= 65536 and ':' .. ARGV[at + 1] .. ':' .. #value .. ':' .. value .. ' ' or ''
    end
    call('ZADD', writes, unpack(index))
    call('HSET', pending, unpack(entries))
    return
  end
end

-- use: now_us, decoded, each_chunk, store, ttl_of, hold, outlast, has_ends, drop_expired, parts_of, add, members_of
-- use: ends_of, entry_of, restore_writes, refresh
local thread, namespace, encoded_id = parts_of(record)
local id, ttl, early = decoded(encoded_id), tonumber(ARGV[1]), tonumber(ARGV[2])
local is_early = (ttl == 0 or ttl > early) and call('EXISTS', record) == 0 and call('HGET', head, 'checkpoint_id') ~= id
if is_early then ttl = early end

restore_writes(writes, pending)
local mortal = ttl > 0 or has_ends(expiry, namespaces)
-- Without a TTL nothing begins anew: if somebody set an end to the checkpoint, its writes end with it.
local is_bound = ttl == 0 and mortal and call('PTTL', record) > 0
if is_bound then ttl = call('PTTL', record) end
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

-- All keys of the records are the same up to the checkpoint id.
local pk_at = string.find(KEYS[9], '{', 1, true)
local _, suffix_at = string.find(KEYS[9], '^{[^:]*:[^:]*:', pk_at)

-- `stale` are members that others took the place of.
local index, entries, seen, stale, immortal = {}, {}, {}, {}, {}
for i = 9, #KEYS do
  local key, at = KEYS[i], 3 * (i - 8) + 1
  local member, given, value = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local suffix = string.sub(key, suffix_at + 1)
  local task, idx = string.match(suffix, '^[^:]*:([^:]*):(.*)$')
  local last_wins = string.byte(idx) == 45
  if last_wins or not seen[key] and (there == 0 or call('EXISTS', key) == 0) then
    seen[key] = true
    local entry = entry_of(given, value)
    local path, encoding = string.match(given, '^([^:]*):(.*)$')
    store(key, ttl > 0 and ends, 'pk', string.sub(key, pk_at), 'thread_id', thread, 'namespace', namespace,
      'checkpoint_id', id, 'task_id', decoded(task), 'task_path', decoded(path), 'idx', idx, 'channel', decoded(string.sub(member, #suffix + 2)),
      'encoding', decoded(encoding), 'value', value)
    stale[member] = nil
    if last_wins then
      call('ZADD', writes, 0, member)
      call('HSET', pending, member, entry)
      for _, old in ipairs(members_of(writes, suffix)) do
        if old ~= member then
          call('ZREM', writes, old)
          stale[old] = true
        end
      end
    else
      index[#index + 1], index[#index + 2] = 0, member
      entries[#entries + 1], entries[#entries + 2] = member, entry
    end
    if ttl > 0 then call('ZADD', expiry, ends, 'w' .. member)
    elseif mortal then immortal[#immortal + 1] = 'w' .. member end
  end
end
add('ZADD', writes, index)
add('HSET', pending, entries)
call('ZADD', namespaces, 'NX', 0, namespace)
if mortal then
  for i, key in ipairs(shared) do hold(key, before[i], ttl) end
  outlast(expiry, {values, writes})
end

local behind = {}
if is_early then
  behind = 1
  call('ZADD', expiry, 'GT', ends, 'o' .. encoded_id)
elseif ttl > 0 and not is_bound then
  behind[1] = refresh(record, head, values, checkpoints, writes, expiry, namespaces, pending, id, ttl, now) or ''
  -- No write of the checkpoint ends before this time, so that mostly nobody has to look at each of a wide step.
  local bound = tonumber(call('ZSCORE', expiry, 'm' .. encoded_id) or nil)
  if not bound or bound < now + ttl * 0.9 then
    local members = members_of(writes, encoded_id)
    for i, score in ipairs(ends_of(expiry, members, #members)) do
      if score and tonumber(score) < now + ttl * 0.95 then behind[#behind + 1] = members[i] end
    end
    bound = #behind == 1 and now + ttl * 0.95
  else
    bound = bound > now + ttl and now + ttl
  end
  if bound then call('ZADD', expiry, string.format('%.0f', bound), 'm' .. encoded_id) end
  if #behind == 1 and behind[1] == '' then behind = {} end
end

-- Last, as they may have been the last of them.
local without = {}
for member in pairs(stale) do without[#without + 1] = member end
each_chunk(without, function(first, last) call('HDEL', pending, unpack(without, first, last)) end)
each_chunk(immortal, function(first, last) call('ZREM', expiry, unpack(immortal, first, last)) end)
return behind
