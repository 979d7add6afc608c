#!lua
-- use: now_us, number, decoded, seconds, store, ttl_of, hold, lengthen, ended_in, drop, enter, leave, extend_expiry
-- use: forget_namespaces, enter_namespace, sane, next_time, advance, vectors_in, last_appended
-- Read, put, delete and refresh items, one after the other, all or none.
-- ARGV[1] is a plan, in JSON; numbers in it are positions in KEYS or ARGV.
--   time: microseconds, or absent for now; names: the first of the three indexes of namespaces, and clock: the key of
--     the last creation; absent with a time
--   spaces: {name, sequence, chain = for each link, the namespace's own first, the first of its keys, which are recency,
--     expiry, index, and vectors if there is a collection}
--   actions: {kind = get | put | delete | refresh, space, record, documents = how many keys of vectors that there are or
--     may be follow that of the record, or absent, expected = version, 0 for none, absent for any, created = what the
--     expected item has as created_at, or absent,
--     known = true if vectors of the former value that have no keys here may be left to the caller,
--     and for put: value; of an item that ends: life = milliseconds, ttl = as text;
--     of one with vectors: count, data = the first of them, tags = the first of namespaces and attributes}
--   collection: of the vectors, or absent
--   deletion: in a cluster, the key that holds for a while when the last of the deleted items had been put
--   append: absent, or the puts get the next keys: base = the number before the first one that is declared, records =
--     each record that is declared, documents
--   pop: absent, or only the first of the actions, all of them deletions, is done whose item is the last of all
--   call: absent, or the key under which the answer is kept for a while: a client that lost it asks again; until: by when
--     this is done, in ms, or not at all; kept: for how much longer the answer is kept
--   despite: absent, or what is refreshed is so although there are vectors that have no keys here
-- Returns 'late' and the time in ms, if nothing is done since it is too late, or the client's clock is another; or 'done'
-- and a reply for each action, or 'conflict', its number, the version that is there (0 for none), and the
-- created_at of what is there ('' if an action before this one puts it), or 'append' and the number of the last key, if the next are not all declared, or 'vectors' and for each action that
-- there are not enough documents for its number and what its record says. A pop returns 'done', the number of
-- the action, the row that was read, and the reply, or 'pop' if no action is about the last item.
local plan = cjson.decode(ARGV[1])
local answered = plan.call and call('GET', KEYS[plan.call])
if answered then return cmsgpack.unpack(answered) end
local function answer(reply)
  if plan.call then call('SET', KEYS[plan.call], cmsgpack.pack(reply), 'PXAT', number(plan['until'] + plan.kept)) end
  return reply
end
local present = now_us()
local us, now = tonumber(plan.time), math.floor(present / 1000)
if plan.call and (now > plan['until'] or now + 4 * plan.kept < plan['until']) then return {'late', number(now)} end
local deleted = plan.deletion and sane(tonumber(call('GET', KEYS[plan.deletion]) or nil))
-- The deletion may have removed from the indexes above what was announced before, too; a later time tells the caller.
if deleted and us <= deleted then us = deleted + 1 end

-- All that could fail for a key of another type does so before anything is written.
local links = {}

local function link_of(first)
  local link = {recency = KEYS[first], expiry = KEYS[first + 1], index = KEYS[first + 2]}
  link.vectors = plan.collection and KEYS[first + 3]
  call('ZCARD', link.recency)
  link.is_mortal = call('ZCARD', link.expiry) > 0
  link.ended = link.is_mortal and ended_in(link.expiry, now) or {}
  if #link.ended > 0 then
    call('ZCARD', link.index)
    if link.vectors then call('ZCARD', link.vectors) end
  end
  return link
end

for _, space in ipairs(plan.spaces) do
  for i, first in ipairs(space.chain) do
    links[first] = links[first] or link_of(first)
    space.chain[i] = links[first]
  end
  space.index, space.vectors = space.chain[1].index, space.chain[1].vectors
  call('ZCARD', space.index)
  if space.vectors then call('ZCARD', space.vectors) end
end
local names, times, ends, any_ends = plan.names, nil, nil, false
if names then
  names, times, ends = KEYS[plan.names], KEYS[plan.names + 1], KEYS[plan.names + 2]
  call('ZCARD', names)
  call('ZCARD', times)
  any_ends = call('ZCARD', ends) > 0
end
for _, action in ipairs(plan.actions) do
  if action.kind == 'put' and not us then
    local chain = plan.spaces[action.space].chain
    us = next_time(chain[#chain].recency, present, plan.clock and KEYS[plan.clock])
  end
end

local last_number = nil
if plan.append then
  local sequence = KEYS[plan.spaces[1].sequence]
  last_number = last_appended(sequence)
  if not last_number then
    -- Later than all that were appended here, and removed, before.
    last_number = us
    call('SET', sequence, number(us), 'PX', 60000)
  end
  local skipped = last_number - tonumber(plan.append.base)
  if skipped < 0 or skipped + #plan.actions > #plan.append.records then return {'append', number(last_number)} end
  for i, action in ipairs(plan.actions) do
    action.record, action.documents = plan.append.records[skipped + i], plan.append.documents
    if call('EXISTS', KEYS[action.record]) == 1 then
      -- Somebody put an item under this very key.
      call('SET', sequence, number(last_number + i), 'KEEPTTL')
      return {'append', number(last_number + i)}
    end
  end
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

local function changed(record)
  rows[record], heads[record] = nil, nil
end

local versions, births, unknown = {}, {}, {}
for number_, action in ipairs(plan.actions) do
  local record = KEYS[action.record]
  local vectors
  if action.kind == 'put' or action.kind == 'delete' then
    local head = head_of(record)
    if versions[record] == nil then versions[record], births[record] = head.version, head.created_at or '' end
    local there = versions[record] and (version_of(versions[record]) or 0) or 0
    if action.expected and (action.expected ~= there or (action.created or births[record]) ~= births[record]) then
      return {'conflict', number_, there, births[record]}
    end
    versions[record] = action.kind == 'put' and there + 1
    if there == 0 or action.kind == 'delete' then births[record] = '' end
    vectors = head.vectors
  else
    vectors = action.kind == 'refresh' and row_of(record)[8]
    if action.kind == 'get' then row_of(record) end
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

local function tidy()
  for _, link in pairs(links) do drop(link.recency, link.expiry, link.index, link.vectors, link.ended) end
  for _, space in ipairs(plan.spaces) do
    if #space.chain[1].ended > 0 and call('EXISTS', space.index) == 0 then call('DEL', KEYS[space.sequence]) end
  end
end

-- Remove the records of vectors behind the first `count`. What has no record of ours here is left to the caller.
local function remove_vectors(space, action, name, count, before)
  for ordinal = count + 1, math.min(action.documents or 0, vectors_in(before, plan.collection)) do
    call('DEL', KEYS[action.record + ordinal])
    call('ZREM', space.vectors, name .. ':' .. (ordinal - 1))
  end
end

-- The parts of a record's key: the item's primary key, its namespace and its key, encoded.
local function parts_of(record)
  return string.match(record, '^[^{]*({(.*)}:(.*))$')
end

-- The members of an item in the indexes of the links of a chain.
local function members_of(chain, namespace, name)
  local members = {':' .. name}
  local member = namespace .. members[1]
  for link = #chain, 2, -1 do
    members[link] = member
    member = string.gsub(member, '^[^.:]*%.?', '', 1)
  end
  return members
end

local noted = 0

-- `puts`: how many may follow in this call, each a microsecond later.
local function put(space, action, puts)
  local record = KEYS[action.record]
  local pk, namespace, name = parts_of(record)
  local members, key = members_of(space.chain, namespace, name), decoded(name)
  local before = head_of(record)
  local created, version = before.created_at, version_of(before.version)
  local last = sane((tonumber(before.updated_at or nil) or -1) * 1000000)
  if last then us = math.max(us, math.floor(last + 0.5) + 1) end
  local stamp = seconds(us)
  local life = action.life or 0
  local item_ends = life > 0 and now + life or 0
  version = version and version + 1 or 1
  if version == 1 or not is_time(created) then
    created = stamp
    if plan.clock and us > noted then
      noted = us + puts
      advance(KEYS[plan.clock], noted)
    end
  end

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
  store(record, at, 'pk', pk, 'namespace', namespace, 'item_key', key, 'value', ARGV[action.value],
    'created_at', created, 'updated_at', stamp, 'version', number(version), unpack(more))
  changed(record)

  local index = space.index
  local index_before = item_ends > 0 and ttl_of(index)
  call('ZADD', index, 0, key)
  if item_ends > 0 then hold(index, index_before, life) else call('PERSIST', index) end
  for i, link in ipairs(space.chain) do
    link.is_mortal = link.is_mortal or item_ends > 0
    enter(link.recency, link.is_mortal and link.expiry, members[i], us, item_ends, now)
  end
  if names then
    any_ends = any_ends or item_ends > 0
    enter_namespace(names, times, any_ends and ends, ARGV[space.name], us, item_ends, now)
  end

  if count > 0 then
    local vectors = space.vectors
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
  remove_vectors(space, action, name, count, before.vectors)
  us = us + 1
  return {number(version), created, stamp, expires, left_over(action, before.vectors)}
end

local function delete(space, action)
  local record = KEYS[action.record]
  local _, namespace, name = parts_of(record)
  local members = members_of(space.chain, namespace, name)
  local before = head_of(record)
  local last = plan.deletion and sane((tonumber(before.updated_at or nil) or -1) * 1000000)
  if last then
    deleted = math.max(deleted or 0, math.floor(last + 0.5))
    -- As long as a put that was announced before may come, or a clock may be behind.
    call('SET', KEYS[plan.deletion], number(deleted), 'PX', number(120000 + math.max(0, deleted - present) / 1000))
  end
  local index = space.index
  local found = call('DEL', record)
  changed(record)
  call('ZREM', index, decoded(name))
  for i, link in ipairs(space.chain) do leave(link.recency, link.is_mortal and link.expiry, members[i]) end
  remove_vectors(space, action, name, 0, before.vectors)
  if call('EXISTS', index) == 0 then
    call('DEL', KEYS[space.sequence])
    if names then forget_namespaces(names, times, ends, {ARGV[space.name]}) end
  end
  return {found, left_over(action, before.vectors), before.updated_at or ''}
end

-- Returns whether the record speaks of vectors that the caller has to name first.
local function refresh(space, action, row)
  local life = tonumber(row[7])
  if not life or not (life > 0 and life <= 10000000000) then return 0 end
  if not plan.despite and left_over(action, row[8]) ~= '' then return 1 end
  local record, item_ends = KEYS[action.record], now + math.ceil(life * 1000)
  call('HSET', record, 'expires_at', seconds(item_ends * 1000))
  call('PEXPIREAT', record, number(item_ends))
  changed(record)
  row[6] = seconds(item_ends * 1000)
  for i = 1, math.min(action.documents or 0, vectors_in(row[8], plan.collection)) do
    if call('PTTL', KEYS[action.record + i]) >= 0 then call('PEXPIREAT', KEYS[action.record + i], number(item_ends)) end
  end
  lengthen(space.index, item_ends - now)
  lengthen(KEYS[space.sequence], item_ends - now)
  if space.vectors then lengthen(space.vectors, item_ends - now) end
  local _, namespace, name = parts_of(record)
  local members = members_of(space.chain, namespace, name)
  for i, link in ipairs(space.chain) do extend_expiry(link.recency, link.expiry, members[i], item_ends, now) end
  if names and call('ZSCORE', ends, ARGV[space.name]) then
    call('ZADD', ends, 'GT', number(item_ends), ARGV[space.name])
  end
  return 0
end

tidy()
local replies = {'done'}
if plan.append then
  local sequence, life = KEYS[plan.spaces[1].sequence], plan.actions[1].life or 0
  local before = ttl_of(sequence)
  call('SET', sequence, number(last_number + #plan.actions), 'KEEPTTL')
  hold(sequence, before, life)
  replies[2] = number(last_number)
end
if plan.pop then
  local index = plan.spaces[1].index
  for number_, action in ipairs(plan.actions) do
    local _, _, name = parts_of(KEYS[action.record])
    if call('ZREVRANGE', index, 0, 0)[1] == decoded(name) then
      local row = row_of(KEYS[action.record])
      local reply = delete(plan.spaces[1], action)
      if reply[1] == 1 then return answer({'done', number_, row, reply}) end
    end
  end
  return {'pop'}
end
for number_, action in ipairs(plan.actions) do
  local space = plan.spaces[action.space]
  if action.kind == 'put' then
    replies[#replies + 1] = put(space, action, #plan.actions - number_)
  elseif action.kind == 'delete' then
    replies[#replies + 1] = delete(space, action)
  else
    local row = row_of(KEYS[action.record])
    local waits = action.kind == 'refresh' and refresh(space, action, row) or 0
    replies[#replies + 1] = {row, waits}
  end
end
return answer(replies)
