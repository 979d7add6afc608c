-- Shared by the scripts of items.
--
-- A namespace has three indexes of its own items, whose members are their keys: by name (index), by what was put when
-- (recency, in microseconds) and by what ends when (expiry, in milliseconds). Its state is a HASH: `last`, the latest
-- time that was given to an item; `ends`, if something there may end, so that writers take care of it; `most`, by when
-- all of its items end as the index of namespaces knows it, in milliseconds, 0 for never; and `lease`, in a cluster:
-- until when, in microseconds, items are put without telling that index.

local FIELDS = {'item_key', 'value', 'created_at', 'updated_at', 'version', 'expires_at', 'ttl', 'vectors', 'pk'}

-- A text as a part of a key, percent-encoded.
local function encoded(text)
  return (string.gsub(text, '[^%w_~-]', function(char) return string.format('%%%02X', string.byte(char)) end))
end

-- Forget the vectors of an item in the index of a collection.
-- use: encoded
local function strike(vectors, key)
  local name = encoded(key)
  call('ZREMRANGEBYLEX', vectors, '[' .. name .. ':', '(' .. name .. ';')
end

-- Some of what has ended in a namespace.
-- use: number
local function ended_in(expiry, now)
  return call('ZRANGEBYSCORE', expiry, '-inf', '(' .. number(now), 'LIMIT', 0, 100)
end

-- Forget what has ended; `vectors` may be absent.
-- use: strike
local function drop(recency, expiry, index, vectors, ended)
  if #ended == 0 then return end
  call('ZREM', recency, unpack(ended))
  call('ZREM', expiry, unpack(ended))
  call('ZREM', index, unpack(ended))
  if vectors then
    for _, key in ipairs(ended) do strike(vectors, key) end
  end
end

-- use: ended_in, drop
local function drop_ended(recency, expiry, index, vectors, now)
  local ended = ended_in(expiry, now)
  drop(recency, expiry, index, vectors, ended)
  return #ended
end

-- How much longer the state of a namespace is kept than its items, in milliseconds: longer than a lease.
local KEPT = 600000

-- Enter an item that was put into the indexes of its namespace, with all that it takes if something ends there. `ends`
-- is 0 for never.
-- use: number, ttl_of, hold, outlast
local function enter(recency, expiry, index, state, key, us, ends, now)
  if ends == 0 then
    call('ZADD', index, 0, key)
    call('ZADD', recency, number(us), key)
    call('ZREM', expiry, key)
    for _, kept in ipairs({index, recency, expiry, state}) do call('PERSIST', kept) end
    return
  end
  local life = ends - now
  local befores = {}
  for i, held in ipairs({index, recency, expiry, state}) do befores[i] = ttl_of(held) end
  call('ZADD', index, 0, key)
  call('ZADD', recency, number(us), key)
  call('ZADD', expiry, number(ends), key)
  call('HSET', state, 'ends', 1)
  for i, held in ipairs({index, recency, expiry}) do hold(held, befores[i], life) end
  hold(state, befores[4], life + KEPT)
  outlast(expiry, {recency})
end

-- Forget an item whose record is gone. If it did not end, others deleted it, or the server evicted it, and its vectors are
-- still there. Returns whether an index knew it, as one that has not ended.
-- use: strike
local function miss(recency, expiry, index, vectors, key, now)
  local ends, known = tonumber(call('ZSCORE', expiry, key) or nil), call('ZSCORE', recency, key)
  call('ZREM', index, key)
  call('ZREM', recency, key)
  call('ZREM', expiry, key)
  if vectors and ends and ends < now then strike(vectors, key) end
  return known and not (ends and ends <= now + 1000)
end

-- A time in microseconds, if it is one that can be written down: what others stored may be any number.
local function sane(us)
  return us and us >= 0 and us < 253370764800000000 and us or nil
end

-- The latest time that an item was ever put at in a namespace that is gone by now.
-- use: sane
local function last_gone(clock)
  return sane(tonumber(call('GET', clock) or nil)) or 0
end

-- Note that items were put until a time, in a namespace that goes. No item that is put later is created at that time or
-- before, also if the server's time is set back, so `created_at` tells it from one that was deleted.
-- use: number, last_gone
local function advance(clock, us)
  if us > last_gone(clock) then call('SET', clock, number(us)) end
end

-- The namespaces that have items, by name, by the time of the last put, and by their end if they have one. In a cluster
-- the time is a bound: the end of a lease. One that is empty is forgotten when that was a minute ago.
local GRACE = 60000

-- use: sane, advance
local function forget_namespaces(names, times, ends, clock, list)
  for _, name in ipairs(list) do
    local us = sane(tonumber(call('ZSCORE', times, name) or nil))
    if us then advance(clock, us) end
  end
  for _, key in ipairs({names, times, ends}) do call('ZREM', key, unpack(list)) end
end

-- Enter a namespace whose items are put until a time, and end by `most` in milliseconds, 0 for never.
-- Those that must be empty, as all in them has ended, are forgotten.
-- use: number, forget_namespaces
local function enter_namespace(names, times, ends, clock, name, us, most, now)
  local ended = call('ZRANGEBYSCORE', ends, '-inf', '(' .. number(now - GRACE), 'LIMIT', 0, 20)
  if #ended > 0 then forget_namespaces(names, times, ends, clock, ended) end
  local is_new = call('ZADD', names, 0, name) == 1
  call('ZADD', times, 'GT', number(us), name)
  if most == 0 then call('ZREM', ends, name)
  elseif is_new or call('ZSCORE', ends, name) then call('ZADD', ends, 'GT', number(most), name) end
end

-- An error, if items are in the units of another program, which has other keys for them: `unit` is the number of labels
-- that are one, '' for none. `others` is the index by name of namespaces in units if this program has none, and the other
-- way round; `marker` is the key that says what the unit is, which counts as long as there are namespaces.
local function other_unit(names, others, marker, unit)
  local stored
  if call('ZCARD', others) > 0 then
    stored = unit ~= '' and 'none' or string.match(call('GET', marker) or '', '^%d+$') or '?'
  elseif unit ~= '' then
    local there = call('GET', marker)
    if there and there ~= unit and call('ZCARD', names) > 0 then stored = string.match(there, '^%d+$') or '?' end
  end
  return stored and {err = 'OTHERUNIT ' .. stored}
end

-- The number of the last value that was appended, if it is one: others may have stored anything.
local function last_appended(sequence)
  local found = tonumber(call('GET', sequence) or nil)
  return found and found >= 0 and found < 9007199254740000 and found % 1 == 0 and found or nil
end

-- How many vectors of a collection a record's `vectors` speaks of. Others may have written any text, of any length:
-- an anchored pattern looks at it once.
local function vectors_in(text, collection)
  local name, count = string.match(text or '', '^(%S*):(%d+)$')
  return name and name == collection and #count <= 6 and tonumber(count) or 0
end

-- Others may have stored anything.
local function version_of(text)
  local found = tonumber(text or nil)
  return found and found >= 1 and found < 9007199254740991 and found % 1 == 0 and found or nil
end

local function is_time(text)
  local found = tonumber(text or nil)
  if found then return found > -62135596800 and found < 253370764800 end
  return text and string.match(text, '^%d%d%d%d%-%d%d%-%d%d') ~= nil
end

-- Whether the index of namespaces has an item end no sooner than it does. Both are 0 for never; `most` may be absent.
local function covers(most, ends)
  return most and (most == 0 or (ends > 0 and ends <= most))
end

-- The items of namespaces whose keys follow each other from one of KEYS on, `size` for each, the last put first: at most
-- `wanted` that were put at `latest` or before. Returns the numbers of namespaces whose order lacks some of their items,
-- the number of the namespace, the key and the time of each item, and the numbers of namespaces that have none of these.
-- use: drop_ended
local function merged(start, size, latest, wanted, now)
  local lacking, heads, empty = {}, {}, {}
  for first = start, #KEYS, size do
    local recency, index = KEYS[first], KEYS[first + 2]
    drop_ended(recency, KEYS[first + 1], index, size == 4 and KEYS[first + 3], now)
    if call('ZCARD', index) > call('ZCARD', recency) then lacking[#lacking + 1] = (first - start) / size end
    local count = size == #KEYS - start + 1 and wanted or 1
    local head = call('ZREVRANGEBYSCORE', recency, latest, '-inf', 'WITHSCORES', 'LIMIT', 0, count)
    if head[1] then heads[#heads + 1] = {tonumber(head[2]), first, head}
    else empty[#empty + 1] = (first - start) / size end
  end
  local reply = {}
  if size == #KEYS - start + 1 then
    local list = heads[1] and heads[1][3] or {}
    for i = 1, #list, 2 do
      local at = (i - 1) / 2 * 3
      reply[at + 1], reply[at + 2], reply[at + 3] = 0, list[i], list[i + 1]
    end
    return {lacking, reply, empty}
  end
  local function is_newer(one, other) return one[1] > other[1] end
  table.sort(heads, is_newer)
  -- Each of those before it has an item that is no older than its newest.
  local found = {}
  for rank = 1, math.min(wanted, #heads) do
    local first = heads[rank][2]
    local list = call('ZREVRANGEBYSCORE', KEYS[first], latest, '-inf', 'WITHSCORES', 'LIMIT', 0, wanted - rank + 1)
    for i = 1, #list, 2 do found[#found + 1] = {tonumber(list[i + 1]), (first - start) / size, list[i], list[i + 1]} end
  end
  table.sort(found, is_newer)
  for i = 1, math.min(wanted, #found) do
    local entry = found[i]
    reply[3 * i - 2], reply[3 * i - 1], reply[3 * i] = entry[2], entry[3], entry[4]
  end
  return {lacking, reply, empty}
end

-- The items of a namespace whose vectors changed last, each with a number that grows. A process that keeps the vectors
-- reads what is behind the last entry that it knows, and all vectors if that is not there any more: also when a server
-- took over that lacks the last changes. `life` is absent if vectors only went.
-- use: number, ttl_of, hold
local function note_change(changes, us, name, life)
  local before = ttl_of(changes)
  if before == -2 and not life then return end
  local last = call('LINDEX', changes, -1)
  local text = last and string.match(last, '^(%d+) ')
  local count = text and #text <= 16 and tonumber(text) or 0
  -- Others may have stored anything. All begin anew then.
  if last and count == 0 then call('DEL', changes) end
  if call('RPUSH', changes, number(math.max(us, count + 1)) .. ' ' .. name) > 2000 then call('LTRIM', changes, -1000, -1) end
  if life then hold(changes, before, life) end
end

-- The keys of a namespace by the time of the last put that begin with a text, behind a time and up to another one, both ''
-- for none: at least `count` if there are so many, as those of one time stay together. It looks at some 20,000 entries
-- at most. Returns them, and the time that was reached, absent if there is nothing behind it.
local function in_time(recency, index, is_reverse, after, up_to, prefix, count)
  local found, last, looked = {}, nil, 0
  local keys = prefix ~= '' and call('ZRANGEBYLEX', index, '[' .. prefix, '(' .. prefix .. '\255', 'LIMIT', 0, 2001)
  if keys and #keys <= 2000 then
    -- So few are put in order here, be there as many others as there may.
    if #keys == 0 then return found end
    local entries = {}
    local first, bound = tonumber(after), tonumber(up_to)
    for i, time in ipairs(call('ZMSCORE', recency, unpack(keys))) do
      local at = tonumber(time or nil)
      local is_behind = at and (not first or (is_reverse and at < first) or (not is_reverse and at > first))
      if is_behind and not (bound and (is_reverse and at < bound or not is_reverse and at > bound)) then
        entries[#entries + 1] = {is_reverse and -at or at, i, time}
      end
    end
    table.sort(entries, function(one, other) return one[1] < other[1] or (one[1] == other[1] and one[2] < other[2]) end)
    for _, entry in ipairs(entries) do
      if #found >= count and entry[3] ~= last then return found, last end
      last = entry[3]
      found[#found + 1] = keys[entry[2]]
    end
    return found
  end
  local from = after == '' and (is_reverse and '+inf' or '-inf') or '(' .. after
  local to = up_to == '' and (is_reverse and '-inf' or '+inf') or up_to
  local size = prefix == '' and math.min(500, count + 1) or 500
  for offset = 0, math.huge, size do
    local page = is_reverse and call('ZREVRANGEBYSCORE', recency, from, to, 'WITHSCORES', 'LIMIT', offset, size)
      or call('ZRANGEBYSCORE', recency, from, to, 'WITHSCORES', 'LIMIT', offset, size)
    for i = 1, #page, 2 do
      local key, time = page[i], page[i + 1]
      if (#found >= count or looked >= 20000) and time ~= last then return found, last end
      last, looked = time, looked + 1
      if string.sub(key, 1, #prefix) == prefix then found[#found + 1] = key end
    end
    if #page < 2 * size then return found end
  end
end
