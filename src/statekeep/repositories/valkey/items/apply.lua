#!lua
-- use: now_us, number, encoded, seconds, store, ttl_of, hold, lengthen, ended_in, drop, enter, forget_namespaces
-- use: enter_namespace, sane, advance, last_gone, last_appended, vectors_in, version_of, is_time, covers, note_change
-- use: in_time, is_left, other_unit
-- Read, list, put, delete, refresh and check items, one after the other, all or none.
-- The plan was made by the text before this: plan.lua, put.lua or delete.lua. Numbers in it are positions in KEYS or ARGV.
--   names: the first of the three indexes of namespaces, the clock, the index by name of other units and the key that says
--     what a unit is, if they are in this slot
--   unit: the number of labels that are one, '' or absent for none
--   spaces: {name, first of the keys, which are recency, expiry, index, state, sequence, and vectors and their
--     changes if there is a collection; announced = what was announced if the indexes are elsewhere: {until when, in
--     microseconds, by when all ends, in milliseconds, 0 for never, a time before which nothing is put}, or absent;
--     records = the records that are declared, by key, if one of the actions is a list}
--   actions: {kind = list, space, count, reverse, and for the order of keys: bounds = the first of both, or for that of
--     puts: prefix} and {kind = get | put | delete | refresh | check, space, record, key, documents = how many keys of
--     vectors that there are or may be follow that of the record, or absent, expected = version, 0 for none, absent for
--     any, created = what the expected item has as created_at, or absent,
--     known = true if vectors of the former value that have no keys here may be left to the caller,
--     restored = of one that had its version and times elsewhere: {version, created, updated as text, us = updated in
--     microseconds, ends in milliseconds or absent; if that has passed nothing is done, and the reply is 0}, or absent,
--     and for put: value; of an item that ends: life = milliseconds, ttl = as text;
--     of one with vectors: count, data = the first of them, tags = the first of namespaces and attributes}
--   collection: of the vectors, or absent
--   append: absent, or the puts get the next keys: base = the number before the first one that is declared, records =
--     each record that is declared, documents
--   pop: absent, or only the first of the actions, all of them deletions, is done whose item is the last of all
--   call: absent, or the key under which the answer is kept for a while: a client that lost it asks again; until: by when
--     this is done, in ms, or not at all; kept: for how much longer the answer is kept
--   complete: absent, or the orders of puts were looked after, be there in them what may
--   despite: absent, or what is refreshed is so although there are vectors that have no keys here
-- Returns 'late' and the time in ms, if nothing is done since it is too late, or the client's clock is another; or 'done'
-- and a reply for each action, or 'conflict', its number, the version that is there (0 for none), and the
-- created_at of what is there ('' if an action before this one puts it), or 'append' and the number of the last key, if
-- the next are not all declared, or 'vectors' and for each action that
-- there are not enough documents for its number and what its record says, or 'announce' and for each space that the index
-- of namespaces has to be told of first its number, until when items would be put, and how long they live, or 'list' and
-- the numbers of listings, each with the keys of records that it lacks, or 'far' and the number of one that would look at
-- too many entries, or 'lacks' and that of one whose order of puts lacks some items. The reply for a listing is
-- (key, row)*. A pop returns 'done', the number of the action, the row that was read, and the reply, or 'pop' if no action
-- is about the last item.
local answered = plan.call and call('GET', KEYS[plan.call])
if answered then return cmsgpack.unpack(answered) end
local function answer(reply)
  if plan.call then call('SET', KEYS[plan.call], cmsgpack.pack(reply), 'PXAT', number(plan['until'] + plan.kept)) end
  return reply
end
local present = now_us()
local now = math.floor(present / 1000)
if plan.call and (now > plan['until'] or now + 4 * plan.kept < plan['until']) then return {'late', number(now)} end

-- All that could fail for a key of another type does so before anything is written.
local names, times, ends, clock, others, marker, unit
if plan.names then
  others, marker, unit = KEYS[plan.names + 4], KEYS[plan.names + 5], plan.unit or ''
  names, times, ends, clock = KEYS[plan.names], KEYS[plan.names + 1], KEYS[plan.names + 2], KEYS[plan.names + 3]
  call('ZCARD', names)
  call('ZCARD', times)
  call('ZCARD', ends)
  call('GET', clock)
end
for _, space in ipairs(plan.spaces) do
  local first = space.first
  space.recency, space.expiry, space.index = KEYS[first], KEYS[first + 1], KEYS[first + 2]
  space.state, space.sequence = KEYS[first + 3], KEYS[first + 4]
  if plan.collection then space.vectors, space.changes = KEYS[first + 5], KEYS[first + 6] end
  -- They go with the last item.
  space.notes = {space.sequence, space.changes}
  for _, key in ipairs({space.recency, space.expiry, space.index}) do call('ZCARD', key) end
  if space.vectors then
    call('ZCARD', space.vectors)
    call('LLEN', space.changes)
  end
  local state = call('HMGET', space.state, 'last', 'ends', 'most', 'lease')
  space.last, space.lease = sane(tonumber(state[1] or nil)), sane(tonumber(state[4] or nil))
  space.most = sane(tonumber(state[3] or nil))
  space.is_new = not state[1]
  local refused = names and space.is_new and other_unit(names, others, marker, unit)
  if refused then return refused end
  -- Of what has no state yet, nothing is known.
  space.is_mortal = space.is_new or state[2]
  space.ended = space.is_mortal and ended_in(space.expiry, now) or {}
  space.puts = 0
end

-- The vectors of a former value, as its record names them, if not all of them have keys here.
local function left_over(action, before)
  if not before or before == '' then return '' end
  if string.find(before, ' ', 1, true) or string.match(before, '^(.*):%d+$') ~= plan.collection then return before end
  return vectors_in(before, plan.collection) > (action.documents or 0) and before or ''
end

-- Records before an action: all FIELDS for one that reads, those that matter for one that writes. A write to a record
-- forgets them.
local rows, heads = {}, {}

local function row_of(record)
  rows[record] = rows[record] or call('HMGET', record, unpack(FIELDS))
  return rows[record]
end

local function head_of(record)
  if not heads[record] then
    local values = call('HMGET', record, 'version', 'vectors', 'created_at', 'updated_at')
    heads[record] = {version = values[1], vectors = values[2], created_at = values[3], updated_at = values[4]}
  end
  return heads[record]
end

local function is_there(row)
  for i = 1, #FIELDS do
    if row[i] then return true end
  end
end

-- The keys of a listing in its order, but those of items that are not there. Returns at least `count` if there are so
-- many, and true if it gave up before.
local function listed(space, action, count)
  local size = math.max(count, 1)
  while true do
    local keys, is_cut
    if action.prefix then
      local reached
      keys, reached = in_time(space.recency, space.index, action.reverse, '', '', action.prefix, size)
      is_cut = reached ~= nil
    else
      local first, last = ARGV[action.bounds], ARGV[action.bounds + 1]
      keys = action.reverse and call('ZREVRANGEBYLEX', space.index, first, last, 'LIMIT', 0, size)
        or call('ZRANGEBYLEX', space.index, first, last, 'LIMIT', 0, size)
      is_cut = #keys == size
    end
    local there = {}
    for first = 1, #keys, 2000 do
      local last = math.min(first + 1999, #keys)
      local item_ends = space.is_mortal and call('ZMSCORE', space.expiry, unpack(keys, first, last)) or {}
      for i = first, last do
        local key, at = keys[i], tonumber(item_ends[i - first + 1] or nil)
        local record = space.records[key]
        if not (at and at < now) and (not record or is_there(row_of(KEYS[record]))) then there[#there + 1] = key end
      end
    end
    if #there >= count or not is_cut then return there end
    if size > 20000 then return there, true end
    size = size * 4
  end
end

local function changed(record)
  rows[record], heads[record] = nil, nil
end

-- How long a refreshed item lives, in milliseconds; 0 if it does not end.
local function life_of(row)
  local life = tonumber(row[7])
  return life and life > 0 and life <= 10000000000 and math.ceil(life * 1000) or 0
end

-- A time that something was put at in a namespace of which nothing is left.
local function floor_of(space)
  if not space.is_new then return 0 end
  if not names then return space.announced and space.announced[3] or 0 end
  return math.max(last_gone(clock), sane(tonumber(call('ZSCORE', times, ARGV[space.name]) or nil)) or 0)
end

local us = present
for _, action in ipairs(plan.actions) do
  local ends_at = action.restored and action.restored.ends
  if ends_at and ends_at <= now then action.kind = 'ended' elseif ends_at then action.life = ends_at - now end
end
local last_number = nil
if plan.append then
  local space = plan.spaces[1]
  last_number = last_appended(space.sequence)
  if not last_number then
    -- Later than all that were appended here, and removed, before.
    last_number = math.max(us, (space.last or 0) + 1, floor_of(space) + 1)
    call('SET', space.sequence, number(last_number), 'PX', 60000)
  end
  local skipped = last_number - tonumber(plan.append.base)
  if skipped < 0 or skipped + #plan.actions > #plan.append.records then return {'append', number(last_number)} end
  for i, action in ipairs(plan.actions) do
    action.record, action.documents = plan.append.records[skipped + i], plan.append.documents
    action.key = string.format('%020.0f', last_number + i)
    if call('EXISTS', KEYS[action.record]) == 1 then
      -- Somebody put an item under this very key.
      call('SET', space.sequence, number(last_number + i), 'KEEPTTL')
      return {'append', number(last_number + i)}
    end
  end
end

local versions, births, unknown, missing = {}, {}, {}, {}
for number_, action in ipairs(plan.actions) do
  local record, space = KEYS[action.record], plan.spaces[action.space]
  local vectors
  if action.kind == 'put' or action.kind == 'delete' or action.kind == 'check' then
    local head = head_of(record)
    if versions[record] == nil then versions[record], births[record] = head.version, head.created_at or '' end
    local there = versions[record] and (version_of(versions[record]) or 0) or 0
    if action.expected and (action.expected ~= there or (action.created or births[record]) ~= births[record]) then
      return {'conflict', number_, there, births[record]}
    end
    local last = sane((tonumber(head.updated_at or nil) or -1) * 1000000)
    if action.kind ~= 'check' then
      versions[record] = action.kind == 'put' and there + 1
      if there == 0 or action.kind == 'delete' then births[record] = '' end
      vectors = head.vectors
    end
    if action.kind == 'put' then
      space.puts = space.puts + 1
      local life = action.life or 0
      space.life = life > 0 and space.life ~= 0 and math.max(space.life or 0, life) or 0
      if last then us = math.max(us, math.floor(last + 0.5) + 1) end
      if space.last then us = math.max(us, space.last + 1) end
      if action.restored then
        us = math.max(us, action.restored.us + 1)
        space.floor = floor_of(space)
      end
    elseif action.kind == 'delete' and last then
      -- Whatever is put under this key later is later.
      space.gone = math.max(space.gone or 0, math.floor(last + 0.5))
    end
  else
    vectors = action.kind == 'refresh' and row_of(record)[8]
    if action.kind == 'list' then
      -- What is written before may bring in as many items that are behind the others now.
      local written, lacking = 0, {}
      for i = 1, number_ - 1 do
        local other = plan.actions[i]
        if other.space == action.space and (other.kind == 'put' or other.kind == 'delete') then written = written + 1 end
      end
      if action.prefix and not plan.complete and call('ZCARD', space.index) > call('ZCARD', space.recency) then
        return {'lacks', number_}
      end
      local keys, is_far = listed(space, action, action.count > 0 and action.count + written or 0)
      if is_far then return {'far', number_} end
      for i = 1, math.min(#keys, action.count + written) do
        if not space.records[keys[i]] then lacking[#lacking + 1] = keys[i] end
      end
      if #lacking > 0 then
        missing[#missing + 1] = number_
        missing[#missing + 1] = lacking
      end
    elseif action.kind == 'get' then row_of(record)
    elseif action.kind == 'refresh' then
      local life = life_of(row_of(record))
      if life > 0 then space.renewed = math.max(space.renewed or 0, life) end
    end
  end
  if plan.collection and not action.known then
    local text = left_over(action, vectors)
    if text ~= '' then
      unknown[#unknown + 1] = number_
      unknown[#unknown + 1] = text
    end
  end
  for ordinal = 1, action.documents or 0 do call('HLEN', KEYS[action.record + ordinal]) end
end
if #unknown > 0 then return {'vectors', unpack(unknown)} end
if #missing > 0 then return {'list', unpack(missing)} end

-- Nothing is written that the index of namespaces does not know of.
local puts, unannounced = 0, {}
for _, space in ipairs(plan.spaces) do
  local life = space.puts > 0 and space.life or space.renewed
  if space.renewed and life > 0 then life = math.max(life, space.renewed) end
  space.life = life
  if space.puts > 0 then us = math.max(us, floor_of(space) + 1) end
  -- Whatever is put later is later than all that was here.
  if space.floor then space.last = math.max(space.last or 0, space.floor) end
  puts = puts + space.puts
end
for number_, space in ipairs(plan.spaces) do
  local life = space.life
  if not names and life then
    local lease, runs = space.announced or {0, 0}, space.lease and space.lease >= present
    local last, item_ends = us + puts, life > 0 and now + life or 0
    if not (covers(space.most, item_ends) and (space.puts == 0 or (runs and last <= space.lease))) then
      if present > lease[1] or last > lease[1] or not covers(lease[2], item_ends) then
        for _, word in ipairs({number_, last, life}) do unannounced[#unannounced + 1] = number(word) end
      else
        if runs then
          lease[1] = math.max(lease[1], space.lease)
          if space.most then lease[2] = (lease[2] == 0 or space.most == 0) and 0 or math.max(lease[2], space.most) end
        end
        space.told = lease
      end
    end
  end
end
if #unannounced > 0 then return {'announce', unpack(unannounced)} end
if names and unit ~= '' and puts > 0 then
  for _, space in ipairs(plan.spaces) do
    if space.is_new then call('SET', marker, unit) end
  end
end

for _, space in ipairs(plan.spaces) do
  if #space.ended > 0 then
    drop(space.recency, space.expiry, space.index, space.vectors, space.ended)
    if call('EXISTS', space.index) == 0 then call('DEL', unpack(space.notes)) end
  end
  if space.told then
    call('HSET', space.state, 'lease', number(space.told[1]), 'most', number(space.told[2]))
    -- What is put there has it stay as long.
    if space.is_new then call('PEXPIRE', space.state, KEPT) end
  end
  if space.gone and space.puts == 0 and space.gone > (space.last or 0) then
    space.last = space.gone
    call('HSET', space.state, 'last', number(space.last), 'ends', 1)
    if space.is_new then call('PEXPIRE', space.state, KEPT) end
  end
end

-- The one place where vectors of an item change: it gets those of an action, `count` of them, and loses those that its
-- record spoke of before. What has no record of ours here is left to the caller.
local function change_vectors(space, action, count, before, at, stamp, life)
  local was = vectors_in(before, plan.collection)
  if count == 0 and was == 0 then return end
  local vectors, name = space.vectors, encoded(action.key)
  if count > 0 then
    local vectors_before = ttl_of(vectors)
    for i = 1, count do
      local document = KEYS[action.record + i]
      store(document, at, 'vector', ARGV[action.data + i - 1], 'namespaces', ARGV[action.tags],
        'attributes', ARGV[action.tags + 1] .. (action.zeros and action.zeros[tostring(i)] and ',zero' or ''),
        'updated_at', stamp)
      call('ZADD', vectors, 0, name .. ':' .. (i - 1))
    end
    hold(vectors, vectors_before, life)
  end
  note_change(space.changes, us, name, count > 0 and life)
  for ordinal = count + 1, math.min(action.documents or 0, was) do
    call('DEL', KEYS[action.record + ordinal])
    call('ZREM', vectors, name .. ':' .. (ordinal - 1))
  end
end

local function put(space, action)
  local record = KEYS[action.record]
  local key = action.key
  local before = head_of(record)
  local created, version = before.created_at, version_of(before.version)
  local stamp = seconds(us)
  local life = action.life or 0
  local item_ends = life > 0 and now + life or 0
  version = version and version + 1 or 1
  if version == 1 or not is_time(created) then created = stamp end
  local put_at, restored = us, action.restored
  if restored then version, created, stamp, put_at = restored.version, restored.created, restored.updated, restored.us end

  local count, expires, more = action.count or 0, '', {}
  if item_ends > 0 then
    expires = seconds(item_ends * 1000)
    more = {'expires_at', expires, 'ttl', action.ttl}
  end
  if count > 0 then
    more[#more + 1] = 'vectors'
    more[#more + 1] = plan.collection .. ':' .. number(count)
  end
  local at = item_ends > 0 and number(item_ends)
  local pk, first, rest = string.match(record, '^[^{]*({(.*)}([^:]*):.*)$')
  local namespace = first == '.' and rest ~= '' and string.sub(rest, 2) or first .. rest
  store(record, at, 'pk', pk, 'namespace', namespace, 'item_key', key, 'value', ARGV[action.value],
    'created_at', created, 'updated_at', stamp, 'version', number(version), unpack(more))
  changed(record)
  if space.is_mortal or item_ends > 0 then
    space.is_mortal = true
    enter(space.recency, space.expiry, space.index, space.state, key, put_at, item_ends, now)
  else
    call('ZADD', space.index, 0, key)
    call('ZADD', space.recency, number(put_at), key)
  end
  change_vectors(space, action, count, before.vectors, at, stamp, life)
  space.last = restored and math.max(space.last or 0, put_at) or us
  us = us + 1
  return {number(version), created, stamp, expires, left_over(action, before.vectors)}
end

local function delete(space, action)
  local record = KEYS[action.record]
  local before = head_of(record)
  local found = call('DEL', record)
  changed(record)
  call('ZREM', space.index, action.key)
  call('ZREM', space.recency, action.key)
  if space.is_mortal then call('ZREM', space.expiry, action.key) end
  change_vectors(space, action, 0, before.vectors)
  space.is_reduced = true
  return {found, left_over(action, before.vectors)}
end

-- Returns whether the record speaks of vectors that the caller has to name first.
local function refresh(space, action, row)
  local life = life_of(row)
  if life == 0 then return 0 end
  if not plan.despite and left_over(action, row[8]) ~= '' then return 1 end
  local record, item_ends = KEYS[action.record], now + life
  call('HSET', record, 'expires_at', seconds(item_ends * 1000))
  call('PEXPIREAT', record, number(item_ends))
  changed(record)
  row[6] = seconds(item_ends * 1000)
  for i = 1, math.min(action.documents or 0, vectors_in(row[8], plan.collection)) do
    if call('PTTL', KEYS[action.record + i]) >= 0 then call('PEXPIREAT', KEYS[action.record + i], number(item_ends)) end
  end
  call('ZADD', space.expiry, 'XX', 'GT', number(item_ends), action.key)
  for _, key in ipairs({space.index, space.recency, space.expiry, space.sequence}) do lengthen(key, life) end
  lengthen(space.state, life + KEPT)
  if space.vectors then
    lengthen(space.vectors, life)
    lengthen(space.changes, life)
  end
  return 0
end

-- Note what the namespaces are left with.
local function finish()
  for _, space in ipairs(plan.spaces) do
    if space.puts > 0 then call('HSET', space.state, 'last', number(space.last)) end
    if space.is_reduced and call('EXISTS', space.index) == 0 then
      call('DEL', unpack(space.notes))
      if names then
        forget_namespaces(names, times, ends, clock, {ARGV[space.name]})
        advance(clock, space.last or 0)
        call('DEL', space.state)
      else
        -- Later puts see to it that it stays, if they come.
        call('HSET', space.state, 'ends', 1)
        call('PEXPIRE', space.state, KEPT)
      end
    elseif names and space.life then
      local name = ARGV[space.name]
      local is_listed = space.puts == 0 or call('ZADD', times, 'GT', number(space.last), name) == 0
      local item_ends = space.life > 0 and now + space.life or 0
      if not (is_listed and space.lease and space.lease >= present and covers(space.most, item_ends)) then
        local most = item_ends > 0 and space.most ~= 0 and item_ends + GRACE or 0
        enter_namespace(names, times, ends, clock, name, space.last or 0, most, now)
        call('HSET', space.state, 'most', number(most), 'lease', number(present + GRACE * 1000))
      end
    end
  end
end

local replies = {'done'}
if plan.append then
  local sequence, life = plan.spaces[1].sequence, plan.actions[1].life or 0
  local before = ttl_of(sequence)
  call('SET', sequence, number(last_number + #plan.actions), 'KEEPTTL')
  hold(sequence, before, life)
  replies[2] = number(last_number)
end
if plan.pop then
  local space = plan.spaces[1]
  for number_, action in ipairs(plan.actions) do
    if call('ZREVRANGE', space.index, 0, 0)[1] == action.key then
      local row = row_of(KEYS[action.record])
      local reply = delete(space, action)
      finish()
      if reply[1] == 1 then return answer({'done', number_, row, reply}) end
    end
  end
  return {'pop'}
end
for number_, action in ipairs(plan.actions) do
  local space = plan.spaces[action.space]
  if action.kind == 'put' then
    replies[#replies + 1] = put(space, action)
  elseif action.kind == 'delete' then
    replies[#replies + 1] = delete(space, action)
  elseif action.kind == 'check' or action.kind == 'ended' then
    replies[#replies + 1] = 0
  elseif action.kind == 'list' then
    -- The index may be gone by now, and refused to a script while its slot moves.
    local is_gone = (space.is_reduced or #space.ended > 0) and not is_left(space.index)
    local keys, reply = is_gone and {} or listed(space, action, action.count), {}
    for i = 1, math.min(#keys, action.count) do
      reply[2 * i - 1], reply[2 * i] = keys[i], row_of(KEYS[space.records[keys[i]]])
    end
    replies[#replies + 1] = reply
  else
    local row = row_of(KEYS[action.record])
    local waits = action.kind == 'refresh' and refresh(space, action, row) or 0
    replies[#replies + 1] = {row, waits}
  end
end
finish()
return answer(replies)
