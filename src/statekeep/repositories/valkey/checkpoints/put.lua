#!lua
-- use: now_us, number, decoded, store, ttl_of, hold, outlast, has_ends, drop_expired, prolong, fields_of, values_of
-- use: pk_of, last_part, parts_of, add, run_ttl, touch_thread, add_run, lengthen, members_of, each_chunk
-- use: pieces_at, lacks
-- Store a checkpoint, or nothing at all and return which referenced values, or pieces of given ones, are missing
-- (positions of channels).
-- If it was stored, returns nothing, or -1, whether an index of the thread turned out to have been evicted, and
-- (thread, time)* of threads that may have ended. Or, if nothing of the namespace ends and this is its newest checkpoint,
-- -3, the generation, the number of fields of the hash of values, and the record's list of channels if it is not long.
-- Or, if pending writes came before it whose records were not given, -2 and their index members; nothing is stored then.
-- KEYS: head values checkpoints writes expiry namespaces pending record parent, records of pending writes,
--   [thread-index x3 [run] (metadata-index by value, by thread, whole)*]
-- ARGV: number of these records, ttl in ms, created_at, run_id or '', step or '', metadata, encoding, header, a letter
--   per channel, token*, value*, (piece, data)*,
--   tag for each index of metadata
--   letters: = a value, & one in pieces, by its manifest, ^ stored earlier, ~ stored earlier or nowhere, ? stored earlier or replayed, - replayed, ! empty
local head, values, checkpoints, writes, expiry, namespaces, pending, record, parent = unpack(KEYS, 1, 9)
local thread, namespace, encoded_id = parts_of(record)
local id, parent_id = decoded(encoded_id), decoded(last_part(parent))
local ttl, created_at, run_id, step, metadata, encoding, header, letters = tonumber(ARGV[2]), unpack(ARGV, 3, 9)
local last_write = 9 + tonumber(ARGV[1])
local count = #letters
local us = now_us()
local first_index, tags = last_write + (run_id == '' and 4 or 5)
if KEYS[first_index] then
  -- use: taken_tags
  tags = taken_tags((#KEYS - first_index + 1) / 3)
end

local mortal = ttl > 0 or has_ends(expiry, namespaces)
local now, ends
if mortal then
  now = math.floor(us / 1000)
  ends = string.format('%.0f', now + ttl)
  drop_expired(values, checkpoints, writes, pending, expiry, now, #ARGV)
end

-- Pending writes that came before the checkpoint end early. From now on they last as long as it does.
local early = mortal and call('ZSCORE', expiry, 'o' .. encoded_id) and members_of(writes, encoded_id) or {}
if #early > 0 then
  local given, base = {}, string.sub(record, 1, #record - #pk_of(record) - 11) .. 'pending_write:'
  base = base .. string.sub(pk_of(record), 1, -1 - #encoded_id)
  for i = 10, last_write do given[KEYS[i]] = true end
  for _, member in ipairs(early) do
    if not given[base .. string.match(member, '^(.*):')] then
      table.insert(early, 1, -2)
      return early
    end
  end
end

-- The fate of each channel: its letter, or `+` for a value that is stored already.
local kinds, tokens = {}, {}
for i = 1, count do
  kinds[i], tokens[i] = string.sub(letters, i, i), ARGV[9 + i]
end

-- A value whose channel version was taken by another value has a field of its own, TOKEN@ID. The children of that
-- checkpoint find it through their parent's record.
local missing = {}
local pieces, bodies = {}, {}  -- of each channel; those that were given
if string.find(letters, '[%^~?&]') then
  local inherited = {}
  local parents = call('HGET', parent, 'channels')
  if parents and string.find(parents, '@', 1, true) then
    for _, name in ipairs(fields_of(parents)) do
      local token = string.match(name, '^(.-)@')
      if token then inherited[token] = name end
    end
  end
  local _, given = string.gsub(letters, '[=&]', '')
  for i = 10 + count + given, #ARGV, 2 do bodies[ARGV[i]] = ARGV[i + 1] end
  local nth = 0
  for i = 1, count do
    local kind = kinds[i]
    if kind == '=' then nth = nth + 1
    elseif kind == '&' then
      nth = nth + 1
      pieces[i] = pieces_at(ARGV[9 + count + nth], 1)
      if lacks(values, pieces[i], bodies) then missing[#missing + 1] = i - 1 end
    elseif kind == '^' or kind == '~' or kind == '?' then
      local name = inherited[tokens[i]] or tokens[i]
      local is_there = call('HEXISTS', values, name) == 1
      if is_there then
        -- Mostly the parent's list says of which pieces it consists.
        local _, last = string.find(' ' .. (parents or ''), ' ' .. name .. ' ', 1, true)
        local own = last and pieces_at(parents, last) or {}
        if not last or lacks(values, own) then
          own = pieces_at(call('HGET', values, name), 1)
          is_there = not lacks(values, own)
        end
        if #own > 0 then pieces[i] = own end
      end
      if is_there then tokens[i], kinds[i] = name, '+'
      elseif kind == '^' then missing[#missing + 1] = i - 1
      elseif kind == '~' then kinds[i] = '!' end
    end
  end
  if #missing > 0 then return missing end
end

local shared = {values, checkpoints, expiry, namespaces, #early > 0 and writes or nil, #early > 0 and pending or nil}
local before = {}
if mortal then
  for i, key in ipairs(shared) do before[i] = ttl_of(key) end
end

-- The new values, and what is stored under their names; mostly nothing.
local names = {'generation'}
for i = 1, count do
  if kinds[i] == '=' or kinds[i] == '&' then names[#names + 1] = tokens[i] end
end
local stored = values_of(values, names)

-- This count tells a collector of unused values that a checkpoint came in between.
-- It begins anywhere, so that a thread that was deleted and made again differs, too.
local added = {'generation', number((tonumber(stored[1] or '') or us) + 1)}
local fresh, used = {}, {}
local nth = 1
for i = 1, count do
  local kind, token = kinds[i], tokens[i]
  if kind == '=' or kind == '&' then
    nth = nth + 1
    local value, there, own = ARGV[8 + count + nth], stored[nth], '@' .. encoded_id
    -- What lacks pieces is no value any more: the one given heals the checkpoints that refer to it.
    if kind == '=' and there and there ~= value and lacks(values, pieces_at(there, 1)) then there = nil end
    while there and there ~= value do
      token, own = token .. own, '@'
      there = call('HGET', values, token)
    end
    tokens[i] = token
    if there then
      used[#used + 1] = 'v' .. token
    else
      added[#added + 1], added[#added + 2] = token, value
      fresh[#fresh + 1] = 'v' .. token
    end
  elseif kind == '+' then
    used[#used + 1] = 'v' .. token
  else
    tokens[i] = (kind == '!' and '!' or '?') .. token
  end
  local own = pieces[i]
  if own then
    for _, piece in ipairs(own) do
      if bodies[piece] and call('HEXISTS', values, piece) == 0 then
        added[#added + 1], added[#added + 2] = piece, bodies[piece]
        fresh[#fresh + 1] = 'v' .. piece
      else
        used[#used + 1] = 'v' .. piece
      end
    end
    tokens[i] = tokens[i] .. ' ' .. table.concat(own, ' ')
  end
end
add('HSET', values, added)

tokens[count + 1] = ''
local listed = table.concat(tokens, ' ')
local optional = {}
local function add_optional(name, text)
  if text ~= '' then optional[#optional + 1], optional[#optional + 2] = name, text end
end
add_optional('parent_id', parent_id)
add_optional('run_id', run_id)
add_optional('step', step)
store(record, ttl > 0 and ends, 'channels', listed, 'pk', pk_of(record), 'thread_id', thread,
  'namespace', namespace, 'checkpoint_id', id, 'created_at', created_at, 'metadata', metadata, 'encoding', encoding,
  'header', header, unpack(optional))
call('ZADD', checkpoints, 0, id)
local last = call('ZRANGE', checkpoints, -2, -1)
local newest, is_incomplete, is_evicted = last[#last], false, false
if newest == id then
  -- Mostly the copy is of the one before, or of this one. Otherwise the index, or the newest record, was evicted.
  local held = call('HGET', head, 'checkpoint_id')
  is_evicted = #last == 1 and held and held ~= id
  is_incomplete = is_evicted or #last == 1 and not held and stored[1]
  if held and held ~= id and held ~= last[1] then
    call('ZADD', checkpoints, 0, held)
    newest = call('ZRANGE', checkpoints, -1, -1)[1]
    if #last > 1 then call('ZREM', checkpoints, held) end
  end
  if newest == id then call('COPY', record, head, 'REPLACE') end
end
if call('ZADD', namespaces, 1, namespace) == 1 and #last > 1 then is_incomplete, is_evicted = true, true end
if is_incomplete then call('HSET', values, 'incomplete', 1) end

if mortal then
  if ttl > 0 then
    local ending = {ends, 'c' .. id}
    for _, entry in ipairs(fresh) do ending[#ending + 1], ending[#ending + 2] = ends, entry end
    add('ZADD', expiry, ending)
    prolong(expiry, used, ends)
    if run_id ~= '' then call('ZADD', expiry, 'GT', string.format('%.0f', now + run_ttl(ttl)), 'r' .. run_id) end
  else
    prolong(expiry, used, '+inf')
  end
  for i, key in ipairs(shared) do hold(key, before[i], ttl) end
  outlast(expiry, {values, checkpoints, #early > 0 and writes or nil})
  local entries = {}
  for i, member in ipairs(early) do entries[i] = 'w' .. member end
  for i = 10, #early > 0 and last_write or 0 do
    if ttl == 0 then call('PERSIST', KEYS[i]) else lengthen(KEYS[i], ttl) end
  end
  if ttl > 0 then
    prolong(expiry, entries, ends)
    entries = {}
  else
    entries[#entries + 1] = 'c' .. id
  end
  if #early > 0 then entries[#entries + 1] = 'o' .. encoded_id end
  -- Last, as they may have been the last of them.
  each_chunk(entries, function(first, last) call('ZREM', expiry, unpack(entries, first, last)) end)
end

local others = {unpack(KEYS, last_write + 1)}
if tags then
  -- use: index_metadata
  index_metadata(first_index, tags, thread, call('ZSCORE', others[1], thread), us)
end
local ended = others[1] and touch_thread(others[1], others[2], others[3], thread, us, ttl) or {}
if others[1] and run_id ~= '' then add_run(others[4], thread, ttl) end
if is_evicted or #ended > 0 then return {-1, is_evicted and 1 or 0, unpack(ended)} end
if mortal or newest ~= id or #listed > 8192 then return missing end
return {-3, added[2], call('HLEN', values), listed}
