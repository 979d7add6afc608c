-- Shared by the scripts of items.
--
-- A namespace has an index of its keys. Each namespace above it, and it itself, has two more: what was put when
-- (recency, in microseconds) and what ends when (expiry, in milliseconds), of all items at or below it.
-- Their members are the labels that follow, a colon, and the key, all encoded.

local FIELDS = {'item_key', 'value', 'created_at', 'updated_at', 'version', 'expires_at', 'ttl', 'vectors', 'pk'}

-- An item directly in a namespace is in the index of its keys, too, and in that of its vectors.
-- use: decoded
local function strike(index, vectors, member)
  if string.sub(member, 1, 1) ~= ':' then return end
  local name = string.sub(member, 2)
  call('ZREM', index, decoded(name))
  if vectors then call('ZREMRANGEBYLEX', vectors, '[' .. name .. ':', '(' .. name .. ';') end
end

-- Some of what has ended at or below a namespace.
-- use: number
local function ended_in(expiry, now)
  return call('ZRANGEBYSCORE', expiry, '-inf', '(' .. number(now), 'LIMIT', 0, 100)
end

-- Forget what has ended at or below a namespace; `vectors` may be absent.
-- use: strike
local function drop(recency, expiry, index, vectors, ended)
  if #ended == 0 then return end
  call('ZREM', recency, unpack(ended))
  call('ZREM', expiry, unpack(ended))
  for _, member in ipairs(ended) do strike(index, vectors, member) end
end

-- use: ended_in, drop
local function drop_ended(recency, expiry, index, vectors, now)
  local ended = ended_in(expiry, now)
  drop(recency, expiry, index, vectors, ended)
  return #ended
end

-- Enter an item that was put into the indexes of a namespace. `ends` is 0 for never; then `expiry` is absent if nothing
-- else ends there.
-- use: number, ttl_of, hold, outlast
local function enter(recency, expiry, member, us, ends, now)
  if ends == 0 then
    call('ZADD', recency, number(us), member)
    call('PERSIST', recency)
    if expiry then
      call('PERSIST', expiry)
      call('ZREM', expiry, member)
    end
    return
  end
  local before, expiry_before = ttl_of(recency), ttl_of(expiry)
  call('ZADD', recency, number(us), member)
  call('ZADD', expiry, number(ends), member)
  hold(recency, before, ends - now)
  hold(expiry, expiry_before, ends - now)
  outlast(expiry, {recency})
end

-- `expiry` is absent if nothing ends there.
local function leave(recency, expiry, member)
  call('ZREM', recency, member)
  if expiry then call('ZREM', expiry, member) end
end

-- Forget an item whose record is gone. If it did not end, others deleted it, or the server evicted it, and its vectors are
-- still there. Returns whether an index knew it, as one that has not ended.
-- use: strike, leave
local function miss(recency, expiry, index, vectors, member, now)
  local ends, known = tonumber(call('ZSCORE', expiry, member) or nil), call('ZSCORE', recency, member)
  strike(index, ends and ends < now and vectors, member)
  leave(recency, expiry, member)
  return known and not (ends and ends <= now + 1000)
end

-- Extend the life of an item in the indexes of a namespace.
-- use: number, lengthen
local function extend_expiry(recency, expiry, member, ends, now)
  call('ZADD', expiry, 'XX', 'GT', number(ends), member)
  lengthen(recency, ends - now)
  lengthen(expiry, ends - now)
end

-- The namespaces that have items, by name, by the time of the last put, and by their end if they have one.
-- One that is empty is forgotten when it has been left alone for a minute: a put under way may have entered it.
local GRACE = 60000

local function forget_namespaces(names, times, ends, list)
  for _, key in ipairs({names, times, ends}) do call('ZREM', key, unpack(list)) end
end

-- `ends` is absent if none of them ends, and the item does not.
-- use: number, forget_namespaces
local function enter_namespace(names, times, ends, name, us, item_ends, now)
  if ends then
    local ended = call('ZRANGEBYSCORE', ends, '-inf', '(' .. number(now - GRACE), 'LIMIT', 0, 20)
    if #ended > 0 then forget_namespaces(names, times, ends, ended) end
  end
  local is_new = call('ZADD', names, 0, name) == 1
  call('ZADD', times, 'GT', number(us), name)
  if not ends then return end
  if item_ends == 0 then call('ZREM', ends, name)
  elseif is_new or call('ZSCORE', ends, name) then call('ZADD', ends, 'GT', number(item_ends), name) end
end

-- A time in microseconds, if it is one that can be written down: what others stored may be any number.
local function sane(us)
  return us and us >= 0 and us < 253370764800000000 and us or nil
end

-- The number of the last value that was appended, if it is one: others may have stored anything.
local function last_appended(sequence)
  local found = tonumber(call('GET', sequence) or nil)
  return found and found >= 0 and found < 9007199254740000 and found % 1 == 0 and found or nil
end

-- The latest time that an item was ever created at, be it gone by now. `clock` may be absent.
-- use: sane
local function last_creation(clock)
  return clock and sane(tonumber(call('GET', clock) or nil)) or 0
end

-- A time that no item at or below a namespace has yet, in microseconds: the present one, if possible.
-- use: sane, last_creation
local function next_time(recency, us, clock)
  local last = call('ZREVRANGE', recency, 0, 0, 'WITHSCORES')
  return math.max(us, (sane(tonumber(last[2])) or 0) + 1, last_creation(clock) + 1)
end

-- Note that items were, or will be, created until a time. No item that is put later is created at that time or before,
-- also if the server's time is set back, so `created_at` tells it from one that was deleted.
-- use: number, last_creation
local function advance(clock, us)
  if us > last_creation(clock) then call('SET', clock, number(us)) end
end

-- How many vectors of a collection a record's `vectors` speaks of. Others may have written any text, of any length:
-- an anchored pattern looks at it once.
local function vectors_in(text, collection)
  local name, count = string.match(text or '', '^(%S*):(%d+)$')
  return name and name == collection and #count <= 6 and tonumber(count) or 0
end
