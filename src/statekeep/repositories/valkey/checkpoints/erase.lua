#!lua flags=allow-oom
-- use: forget_thread, last_part
-- Delete checkpoint and pending write records with their index entries; with the last one of a namespace, all that they
-- shared; with the last checkpoint of the thread, its entry in the thread index, if that is given.
-- A copy of a checkpoint that is not among them stays, unless whole namespaces go: its record was evicted.
-- KEYS: per namespace: head values checkpoints writes expiry namespaces pending, record*; [thread-index x3]
-- ARGV: thread, 1 for whole namespaces or 0, per namespace: namespace, number of checkpoints, of pending writes, id*, member* (in the records' order)
-- Returns the runs of the checkpoints.
local runs, seen = {}, {}
local namespaces
local key, at = 1, 3
while at <= #ARGV do
  local head, values, checkpoints, writes, expiry, pending
  head, values, checkpoints, writes, expiry, namespaces, pending = unpack(KEYS, key, key + 6)
  -- Places in ARGV; those in KEYS are so many behind.
  local first = at + 3
  local first_write = first + tonumber(ARGV[at + 1])
  local last = first_write + tonumber(ARGV[at + 2]) - 1
  local shift = key + 7 - first

  local newest, is_newest = call('HGET', head, 'checkpoint_id'), false
  for i = first, first_write - 1 do
    -- A key that is no hash has no run, and goes all the same.
    local run = redis.pcall('HGET', KEYS[i + shift], 'run_id')
    if type(run) == 'string' and not seen[run] then
      seen[run] = true
      runs[#runs + 1] = run
    end
    is_newest = is_newest or ARGV[i] == newest
  end

  -- An index goes with its last member, and is not touched again.
  local ids, members = call('ZCARD', checkpoints), call('ZCARD', writes)
  if first_write > first then ids = ids - call('ZREM', checkpoints, unpack(ARGV, first, first_write - 1)) end
  if last >= first_write then members = members - call('ZREM', writes, unpack(ARGV, first_write, last)) end
  if last >= first then call('UNLINK', unpack(KEYS, first + shift, last + shift)) end

  local any_checkpoint, any_write = ids > 0 or ARGV[2] == '0' and newest and not is_newest, members > 0
  if not any_checkpoint then call('UNLINK', head, values) elseif is_newest then call('UNLINK', head) end
  if not any_checkpoint and not any_write then
    call('UNLINK', pending, expiry)
    call('ZREM', namespaces, ARGV[at])
  else
    if not any_checkpoint then call('ZADD', namespaces, 'XX', 0, ARGV[at]) end
    if last >= first_write then call('HDEL', pending, unpack(ARGV, first_write, last)) end
    local entries = {}
    for i = first, last do entries[#entries + 1] = (i < first_write and 'c' or 'w') .. ARGV[i] end
    for i = first, first_write - 1 do
      local encoded_id = last_part(KEYS[i + shift])
      entries[#entries + 1], entries[#entries + 2] = 'm' .. encoded_id, 'o' .. encoded_id
    end
    for i = first_write, last do entries[#entries + 1] = 'o' .. string.match(ARGV[i], '^[^:]*') end
    if #entries > 0 then call('ZREM', expiry, unpack(entries)) end
  end
  key, at = last + shift + 1, last + 1
end
if KEYS[key] then forget_thread(namespaces, KEYS[key], KEYS[key + 1], KEYS[key + 2], ARGV[1]) end
return runs
