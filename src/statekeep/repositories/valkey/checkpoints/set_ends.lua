#!lua flags=allow-oom
-- use: now_us, decoded, ttl_of, hold, outlast, prolong, fields_of, last_part, add, each_chunk, state_of
-- Have checkpoints and pending writes end at a time, sooner or later than they would, and all that they need not before.
-- KEYS: head values checkpoints writes expiry namespaces pending, record of each, record of the checkpoint of each write
-- ARGV: end in milliseconds since 1970 or 0 for never, that of pending writes without their checkpoint,
--   number of checkpoints, of pending writes, id*, index member*
-- Returns the state of the namespace before, the one after, how many of the records there are, the checkpoints' runs.
local head, values, checkpoints, writes, expiry, namespaces, pending = unpack(KEYS, 1, 7)
local ends, early, ids, members = unpack(ARGV, 1, 4)
ids, members = tonumber(ids), tonumber(members)
local is_never = ends == '0'
local state = state_of(values, checkpoints, writes, expiry)
local now = math.floor(now_us() / 1000)
local shared, before = {values, checkpoints, writes, expiry, namespaces, pending}, {}
for i, key in ipairs(shared) do before[i] = ttl_of(key) end
local held = call('HGET', head, 'checkpoint_id')

-- `ending`: new ends of entries of the expiry index; `lasting`: entries of what ends no more; `bounds`: of entries that may
-- be there.
local ending, lasting, bounds, used, runs, seen = {}, {}, {}, {}, {}, {}
local whole, brief, count = {}, {}, 0  -- keys that end then, and early

for i = 1, ids do
  local record, id = KEYS[7 + i], ARGV[4 + i]
  local is_there = call('EXISTS', record) == 1
  if id == held then whole[#whole + 1] = head end
  if is_there or id == held then
    local row = call('HMGET', is_there and record or head, 'channels', 'run_id')
    for _, name in ipairs(fields_of(row[1])) do used[#used + 1] = 'v' .. name end
    if row[2] and not seen[row[2]] then
      seen[row[2]] = true
      runs[#runs + 1] = row[2]
    end
    if is_there then whole[#whole + 1] = record end
    count = count + 1
    local encoded_id = last_part(record)
    if is_never then
      for _, entry in ipairs({'c' .. id, 'm' .. encoded_id, 'o' .. encoded_id}) do lasting[#lasting + 1] = entry end
      if row[2] then lasting[#lasting + 1] = 'r' .. row[2] end
    else
      ending[#ending + 1], ending[#ending + 2] = ends, 'c' .. id
      if row[2] then ending[#ending + 1], ending[#ending + 2] = ends, 'r' .. row[2] end
      bounds[#bounds + 1], bounds[#bounds + 2] = ends, 'm' .. encoded_id
    end
  end
end

for i = 1, members do
  local record, member = KEYS[7 + ids + i], ARGV[4 + ids + i]
  if call('EXISTS', record) == 1 then
    count = count + 1
    local encoded_id = string.match(member, '^[^:]*')
    if call('EXISTS', KEYS[7 + ids + members + i]) == 0 and decoded(encoded_id) ~= held then
      brief[#brief + 1] = record
      ending[#ending + 1], ending[#ending + 2] = early, 'w' .. member
      bounds[#bounds + 1], bounds[#bounds + 2] = early, 'm' .. encoded_id
      bounds[#bounds + 1], bounds[#bounds + 2] = early, 'o' .. encoded_id
    else
      whole[#whole + 1] = record
      if is_never then lasting[#lasting + 1] = 'w' .. member
      else ending[#ending + 1], ending[#ending + 2] = ends, 'w' .. member end
    end
  end
end

add('ZADD', expiry, ending)
each_chunk(bounds, function(first, last) call('ZADD', expiry, 'XX', unpack(bounds, first, last)) end)
prolong(expiry, used, is_never and '+inf' or ends)
if #whole + #brief > 0 then
  local left = math.max(tonumber((is_never or #whole == 0) and early or ends) - now, 1)
  if is_never and #whole > 0 then left = 0 end
  for i, key in ipairs(shared) do hold(key, before[i], left) end
  outlast(expiry, {values, checkpoints, writes})
end
for _, key in ipairs(brief) do call('PEXPIREAT', key, early) end
for _, key in ipairs(whole) do
  if is_never then call('PERSIST', key) else call('PEXPIREAT', key, ends) end
end
-- Last, as they may have been the last of them.
each_chunk(lasting, function(first, last) call('ZREM', expiry, unpack(lasting, first, last)) end)
return {state, state_of(values, checkpoints, writes, expiry), count, unpack(runs)}
