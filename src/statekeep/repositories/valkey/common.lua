-- Shared by all scripts. Scripts touch only the keys declared in KEYS; times are those of the server.
--
-- While a slot of a cluster is on its way to another node, the server refuses each command on a key that is not there:
-- also on one that the script itself removed, be it with its last member. The script ends there, and what it has done
-- stays. So no script touches a key again that it removed or may have emptied, if what it still has to do matters.

local call = redis.call

local function now_us()
  local time = call('TIME')
  return time[1] * 1000000 + time[2]
end

local function number(value)
  return string.format('%.0f', value)
end

-- Undo the encoding of a part of a key.
local function decoded(part)
  if not string.find(part, '%', 1, true) then return part end
  return (string.gsub(part, '%%(%x%x)', function(digits) return string.char(tonumber(digits, 16)) end))
end

-- Microseconds as seconds, the way Python writes them.
local function seconds(us)
  local text = string.format('%.0f.%06.0f', math.floor(us / 1000000), us % 1000000)
  return (string.gsub(string.gsub(text, '0+$', ''), '%.$', '.0'))
end

-- Run a command with a long list of arguments in pieces that Lua's stack can hold.
local function each_chunk(list, run)
  for first = 1, #list, 2000 do
    run(first, math.min(first + 1999, #list))
  end
end

-- Replace a record as a whole: what is there goes, with all fields that others may have added. There is no moment at which
-- the key is without a record. `ends` is in milliseconds, absent for never.
-- use: each_chunk
local function store(record, ends, ...)
  local added = redis.pcall('HSET', record, ...)
  if type(added) == 'table' then
    -- A key that is no hash is none of ours.
    if string.find(added.err, 'WRONGTYPE', 1, true) then call('DEL', record) end
    added = call('HSET', record, ...)
  end
  local count = select('#', ...) / 2
  if ends then call('PEXPIREAT', record, ends) elseif added < count then call('PERSIST', record) end
  if added == count or call('HLEN', record) == count then return end
  local kept, others = {}, {}
  for i, name in ipairs({...}) do
    if i % 2 == 1 then kept[name] = true end
  end
  for _, name in ipairs(call('HKEYS', record)) do
    if not kept[name] then others[#others + 1] = name end
  end
  each_chunk(others, function(first, last) call('HDEL', record, unpack(others, first, last)) end)
end

-- Whether a key is there that the script may have removed: while its slot moves, the server refuses the question then.
local function is_left(key)
  return redis.pcall('EXISTS', key) == 1
end

-- Read a shared key's TTL (PTTL: -2 no key, -1 for ever) before it is written to.
local function ttl_of(key)
  return call('PTTL', key)
end

-- Keep a shared key at least as long as what was just stored under it. ttl 0 is for ever.
local function hold(key, before, ttl)
  if ttl == 0 then
    if before >= 0 then call('PERSIST', key) end
  elseif before == -2 or (before >= 0 and before < ttl) then
    call('PEXPIRE', key, ttl)
  end
end

-- Lengthen the life of a key that has an end; never shorten it.
local function lengthen(key, ttl)
  call('PEXPIRE', key, ttl, 'GT')
end

-- Keep the expiry index for ever, if something that it describes is: nobody else would drop what ends in there.
local function outlast(expiry, described)
  for _, key in ipairs(described) do
    if call('PTTL', key) == -1 then call('PERSIST', expiry) end
  end
end
