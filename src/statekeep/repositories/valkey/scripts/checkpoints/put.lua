#!lua
-- Store a checkpoint, or nothing at all and return which referenced values are missing (positions of channels).
-- KEYS: head values checkpoints writes expiry namespaces record parent [thread-index x2 [run]]
-- ARGV: id, encoded id, namespace, ttl in ms, thread, number of fields, (field, text)*, (kind and token, bytes)*
--   kinds: = a value, ^ stored earlier, ~ stored earlier or nowhere, ? stored earlier or replayed, - replayed, ! empty
local head, values, checkpoints, writes, expiry, namespaces, record, parent = unpack(KEYS, 1, 8)
local id, encoded_id, namespace, ttl, thread = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local first_channel = 7 + 2 * tonumber(ARGV[6])
local us = now_us()
local now = math.floor(us / 1000)
local ends = string.format('%.0f', now + ttl)

local mortal = ttl > 0 or has_ends(expiry, namespaces)
if mortal then drop_expired(values, checkpoints, writes, expiry, now, #ARGV) end

local refers_to_earlier = {['^'] = true, ['~'] = true, ['?'] = true}
local kinds, tokens, refers = {}, {}, false
for i = first_channel, #ARGV, 2 do
  local kind = string.sub(ARGV[i], 1, 1)
  kinds[#kinds + 1], tokens[#tokens + 1] = kind, string.sub(ARGV[i], 2)
  refers = refers or refers_to_earlier[kind]
end

-- A value whose channel version was taken by another value has a field of its own, TOKEN@ID. The children of that
-- checkpoint find it through their parent's record.
local missing = {}
if refers then
  local inherited = {}
  local parents = call('HGET', parent, 'channels')
  if parents and string.find(parents, '@', 1, true) then
    for _, name in ipairs(fields_of(parents)) do
      local token = string.match(name, '^(.-)@')
      if token then inherited[token] = name end
    end
  end
  for i, kind in ipairs(kinds) do
    if refers_to_earlier[kind] then
      local name = inherited[tokens[i]] or tokens[i]
      if call('HEXISTS', values, name) == 1 then tokens[i], kinds[i] = name, '^'
      elseif kind == '^' then missing[#missing + 1] = i - 1
      elseif kind == '~' then kinds[i] = '!' end
    end
  end
end
if #missing > 0 then return missing end

local shared = {values, checkpoints, expiry, namespaces}
local before = {}
if mortal then
  for i, key in ipairs(shared) do before[i] = ttl_of(key) end
end

local channels, fresh, used = {}, {}, {}
for i, kind in ipairs(kinds) do
  local token = tokens[i]
  if kind == '!' or kind == '?' or kind == '-' then
    channels[i] = (kind == '!' and '!' or '?') .. token .. ' '
  else
    local added = 0
    if kind == '=' then
      local value, own = ARGV[first_channel + 2 * i - 1], '@' .. encoded_id
      added = call('HSETNX', values, token, value)
      while added == 0 and call('HGET', values, token) ~= value do
        token, own = token .. own, '@'
        added = call('HSETNX', values, token, value)
      end
    end
    local list = added == 1 and fresh or used
    list[#list + 1] = 'v' .. token
    channels[i] = token .. ' '
  end
end
-- Whoever collects unused values sees by this count that a checkpoint came in between.
-- It begins anywhere, so that the values of a thread that was deleted and made again are told apart, too.
if call('HINCRBY', values, 'generation', 1) == 1 then
  call('HSET', values, 'generation', string.format('%.0f', us))
end

call('DEL', record)
call('HSET', record, 'channels', table.concat(channels), unpack(ARGV, 7, first_channel - 1))
if ttl > 0 then call('PEXPIRE', record, ttl) end
call('ZADD', checkpoints, 0, id)
if call('ZRANGE', checkpoints, -1, -1)[1] == id then call('COPY', record, head, 'REPLACE') end
call('ZADD', namespaces, 1, namespace)

if mortal then
  if ttl > 0 then
    call('ZADD', expiry, ends, 'c' .. id)
    for _, entry in ipairs(fresh) do call('ZADD', expiry, ends, entry) end
    prolong(expiry, used, ends)
    for i = 7, first_channel - 2, 2 do
      if ARGV[i] == 'run_id' then
        call('ZADD', expiry, 'GT', string.format('%.0f', now + run_ttl(ttl)), 'r' .. ARGV[i + 1])
      end
    end
  else
    call('ZREM', expiry, 'c' .. id)
    prolong(expiry, used, '+inf')
  end
  for i, key in ipairs(shared) do hold(key, before[i], ttl) end
  outlast(expiry, {values, checkpoints})
end

if KEYS[9] then touch_thread(KEYS[9], KEYS[10], thread, us) end
if KEYS[11] then join_run(KEYS[11], thread, ttl) end
return missing
