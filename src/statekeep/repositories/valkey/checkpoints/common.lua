-- Shared by the scripts of checkpoints.

-- Whether something of a namespace or of its thread has an end; if not, there is none to look after.
local function has_ends(expiry, namespaces)
  return call('EXISTS', expiry) == 1 or call('PTTL', namespaces) >= 0
end

-- The expiry index holds when checkpoints (c), pending writes (w) and channel values (v) end, in milliseconds,
-- so that their index entries and values can be dropped without looking at their records. It also holds when the indexes
-- of runs (r) end, which live in another slot, so that they can be kept as long as the checkpoints; a time before which no
-- pending write of a checkpoint (m) ends; and when pending writes end early that have no checkpoint (o) yet.
-- A call drops more than it may add, so that they do not grow, and not much more.
local function drop_expired(values, checkpoints, writes, pending, expiry, now, added)
  local ended = call('ZRANGEBYSCORE', expiry, '-inf', '(' .. string.format('%.0f', now), 'LIMIT', 0, 100 + added)
  for _, entry in ipairs(ended) do
    local kind, name = string.sub(entry, 1, 1), string.sub(entry, 2)
    if kind == 'c' then call('ZREM', checkpoints, name)
    elseif kind == 'w' then
      call('ZREM', writes, name)
      call('HDEL', pending, name)
    elseif kind == 'v' then call('HDEL', values, name) end
    call('ZREM', expiry, entry)
  end
end

-- Raise the end of entries that are in the expiry index; those that are not there last for ever.
-- use: each_chunk
local function prolong(expiry, entries, score)
  each_chunk(entries, function(first, last)
    local args = {}
    for i = first, last do
      args[#args + 1] = score
      args[#args + 1] = entries[i]
    end
    call('ZADD', expiry, 'XX', 'GT', unpack(args))
  end)
end

-- The fields of the values hash that a record's `channels` names; what has no value has a `!` or `?` in front.
local function fields_of(channels)
  local fields = {}
  for token in string.gmatch(channels or '', '%S+') do
    local first = string.byte(token)
    if first ~= 33 and first ~= 63 then fields[#fields + 1] = token end
  end
  return fields
end

-- The pieces of a value that follow its field in a list of tokens, or in its manifest.
local function pieces_at(text, at)
  local pieces = {}
  while string.byte(text, at) == 61 do
    local last = string.find(text, '[ \n]', at)
    if not last then break end
    pieces[#pieces + 1] = string.sub(text, at, last - 1)
    at = last + 1
  end
  return pieces
end

-- Whether one of some pieces is not stored; those of a set are left out.
local function lacks(values, pieces, left_out)
  for _, piece in ipairs(pieces) do
    if not (left_out and left_out[piece]) and call('HEXISTS', values, piece) == 0 then return true end
  end
  return false
end

-- use: each_chunk
local function values_of(key, fields)
  if #fields == 0 then return fields end
  if #fields <= 2000 then return call('HMGET', key, unpack(fields)) end
  local found = {}
  each_chunk(fields, function(first, last)
    for _, value in ipairs(call('HMGET', key, unpack(fields, first, last))) do
      found[#found + 1] = value
    end
  end)
  return found
end

-- The primary key of a record: it begins with the hash tag, and no prefix has a brace.
local function pk_of(key)
  return string.sub(key, (string.find(key, '{', 1, true)))
end

-- The part behind the last colon. (Without an anchor in front, Lua would begin anew at each character.)
local function last_part(text)
  return string.match(text, '^.*:(.*)$') or text
end

-- Thread id and namespace of the key of a record, and the checkpoint id as it stands there.
-- use: decoded
local function parts_of(key)
  local thread, namespace, encoded_id = string.match(key, '{(.-)}:([^:]*):([^:]*)')
  return decoded(thread), decoded(namespace), encoded_id
end

-- HSET or ZADD with any number of arguments.
-- use: each_chunk
local function add(command, key, list)
  if #list <= 2000 then
    if #list > 0 then call(command, key, unpack(list)) end
  else
    each_chunk(list, function(first, last) call(command, key, unpack(list, first, last)) end)
  end
end

-- The index members of a checkpoint's pending writes, or of one task's: all that start with `CID:`.
local function members_of(writes, prefix)
  return call('ZRANGEBYLEX', writes, '[' .. prefix .. ':', '(' .. prefix .. ';')
end

-- When the first so many of some pending writes end, false for never.
local function ends_of(expiry, members, count)
  local found = {}
  for first = 1, count, 2000 do
    local names = {}
    for i = first, math.min(first + 1999, count) do names[#names + 1] = 'w' .. members[i] end
    for _, score in ipairs(call('ZMSCORE', expiry, unpack(names))) do found[#found + 1] = score end
  end
  return found
end

-- The rest of a line about a pending write, behind its index member: `PATH:ENCODING` as given, and the value in base64
-- as in the record. A large value has none and is read from the record: it would take its memory twice.
local function entry_of(given, value)
  return #value <= 65536 and ':' .. given .. ':' .. #value .. ':' .. value .. ' ' or ''
end

-- Make the index of pending writes anew from the names of their copies, if the server evicted it: the copies go with the
-- last of the index otherwise. Returns whether it did.
-- use: add, ttl_of
local function restore_writes(writes, pending)
  if call('EXISTS', writes) == 1 then return false end
  local members = call('HKEYS', pending)
  if #members == 0 then return false end
  local entries = {}
  for _, member in ipairs(members) do entries[#entries + 1], entries[#entries + 2] = 0, member end
  add('ZADD', writes, entries)
  local left = ttl_of(pending)
  if left >= 0 then call('PEXPIRE', writes, left) end
  return true
end

-- The fields of a checkpoint that readers need: `READ_FIELDS` of records.py.
local function row_of(record)
  return call('HMGET', record, 'checkpoint_id', 'parent_id', 'created_at', 'metadata', 'encoding', 'header', 'channels', 'pk')
end

-- Pending writes by their index members: a text with a line for each that has an entry, the others by their members.
-- Those that ended are left out. Of many, only the first ones are looked at.
-- use: now_us, ends_of
local function lines_of(pending, expiry, members)
  local bare, lines, size = {}, {}, 0
  local count = math.min(#members, 500)
  if count == 0 then return '', bare end
  local entries = call('HMGET', pending, unpack(members, 1, count))
  local ends, now
  if call('EXISTS', expiry) == 1 then
    ends, now = ends_of(expiry, members, count), math.floor(now_us() / 1000)
  end
  for i = 1, count do
    local entry = entries[i]
    if not entry or entry == '' then
      bare[#bare + 1] = members[i]
    elseif not (ends and ends[i] and tonumber(ends[i]) < now) then
      lines[size + 1], lines[size + 2] = members[i], entry
      size = size + 2
    end
  end
  for i = count + 1, #members do bare[#bare + 1] = members[i] end
  return table.concat(lines), bare
end

-- The index members of the pending writes of a checkpoint, also if the index has to be made anew for them.
-- use: members_of, restore_writes
local function writes_of(writes, pending, encoded_id)
  local members = members_of(writes, encoded_id)
  if #members == 0 and restore_writes(writes, pending) then return members_of(writes, encoded_id) end
  return members
end

-- Checkpoints of a namespace: their rows, the channel values of all of them, and what `lines_of` returns.
-- From `key` on in KEYS: values, writes, expiry, pending, one record per checkpoint; from `at` on in ARGV: encoded id*
-- use: fields_of, values_of, row_of, lines_of, writes_of
local function records_at(key, at, number)
  local values, writes, expiry, pending = unpack(KEYS, key, key + 3)
  local rows, members, size, fields, seen = {}, {}, 0, {}, {}
  for i = 1, number do
    rows[i] = row_of(KEYS[key + 3 + i])
    for _, name in ipairs(fields_of(rows[i][7])) do
      if not seen[name] then
        seen[name] = true
        fields[#fields + 1] = name
      end
    end
    local own = writes_of(writes, pending, ARGV[at + i - 1])
    for j = 1, #own do members[size + j] = own[j] end
    size = size + #own
  end
  local lines, bare = lines_of(pending, expiry, members)
  return {rows, values_of(values, fields), lines, bare}
end

-- The index of a run lasts longer than what it was made for, so that not every refresh has to lengthen it.
local function run_ttl(ttl)
  return math.ceil(ttl * 1.25)
end

-- Let a checkpoint that is used live for another ttl, with the values that it refers to.
-- Returns its run, if the index of that has to live longer, too.
-- use: lengthen, prolong, fields_of, run_ttl
local function refresh(record, head, values, checkpoints, writes, expiry, namespaces, pending, id, ttl, now)
  local row = call('HMGET', record, 'checkpoint_id', 'channels', 'run_id')
  if not row[1] then return end
  lengthen(record, ttl)
  if call('HGET', head, 'checkpoint_id') == id then lengthen(head, ttl) end
  for _, key in ipairs({values, checkpoints, writes, expiry, namespaces, pending}) do lengthen(key, ttl) end
  local entries = {'c' .. id}
  for _, name in ipairs(fields_of(row[2])) do entries[#entries + 1] = 'v' .. name end
  prolong(expiry, entries, string.format('%.0f', now + ttl))
  local run_ends = row[3] and call('ZSCORE', expiry, 'r' .. row[3])
  if run_ends and tonumber(run_ends) < now + ttl then
    call('ZADD', expiry, string.format('%.0f', now + run_ttl(ttl)), 'r' .. row[3])
    return row[3]
  end
end

-- Note that a thread was updated. Returns threads that should have ended, with the times of their updates, if there are
-- many. The caller looks whether they did: others may have let them live longer. So that not everybody looks, their
-- ends are put off for a minute.
local function touch_thread(by_time, by_name, by_end, thread, us, ttl)
  local found, now = {}, math.floor(us / 1000)
  if call('ZADD', by_time, string.format('%.0f', us), thread) == 1 then call('ZADD', by_name, 0, thread) end
  if ttl == 0 then
    call('ZREM', by_end, thread)
    return found
  end
  call('ZADD', by_end, 'GT', string.format('%.0f', now + ttl), thread)
  if call('ZCOUNT', by_end, '-inf', now) < 100 then return found end
  local ended = call('ZRANGEBYSCORE', by_end, '-inf', now, 'LIMIT', 0, 100)
  for i, score in ipairs(call('ZMSCORE', by_time, unpack(ended))) do
    if score then
      found[#found + 1], found[#found + 2] = ended[i], score
      call('ZADD', by_end, 'XX', string.format('%.0f', now + 60000), ended[i])
    else
      call('ZREM', by_end, ended[i])
    end
  end
  return found
end

-- use: ttl_of, hold, run_ttl
local function add_run(run, thread, ttl)
  local before = ttl_of(run)
  call('SADD', run, thread)
  hold(run, before, run_ttl(ttl))
end

-- Let the thread index forget a thread that has no checkpoints. Returns whether it has none.
local function forget_thread(namespaces, by_time, by_name, by_end, thread)
  if call('ZCOUNT', namespaces, 1, 1) > 0 then return false end
  call('ZREM', by_end, thread)
  call('ZREM', by_time, thread)
  call('ZREM', by_name, thread)
  return true
end

-- Note in the indexes of metadata what a checkpoint has that is put to a thread. All of the thread is in them if it was at
-- its last update, or if it is new.
-- From `at` on in KEYS: (by value, by thread, whole)*. `tags`: one for each of them, '' for none. `before`: the time of the
-- last update, false for none.
local function index_metadata(at, tags, thread, before, us)
  local time = string.format('%.0f', us)
  for i, tag in ipairs(tags) do
    local by_value, by_thread, whole = unpack(KEYS, at + 3 * i - 3, at + 3 * i - 1)
    if tag ~= '' and call('ZADD', by_value, 0, tag .. thread) == 1 then
      call('ZADD', by_thread, 0, #thread .. ':' .. thread .. tag)
    end
    if not before or call('ZSCORE', whole, thread) == before then call('ZADD', whole, time, thread) end
  end
end

-- Take the tags of so many indexes of metadata from the end of ARGV.
local function taken_tags(count)
  local tags = {}
  for i = count, 1, -1 do tags[i] = table.remove(ARGV) end
  return tags
end

-- The state of a namespace: it is another one if others put, or what ended was dropped.
local function state_of(values, checkpoints, writes, expiry)
  local counts = {call('ZCARD', checkpoints), call('ZCARD', writes), call('ZCARD', expiry)}
  return (call('HGET', values, 'generation') or '') .. ':' .. table.concat(counts, ':')
end
