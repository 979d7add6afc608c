#!lua
-- use: now_us, number, seconds, store, drop_ended, update_namespace
-- Store entries, and index them.
-- KEYS: (index, index of namespaces)*, records
-- ARGV: number of indexes, (namespace, how many of the entries are in it)*,
--   (pk, key, encoding, value, life in milliseconds or 0)*
local us = now_us()
local now = math.ceil(us / 1000)
local created = seconds(us)
local indexes = tonumber(ARGV[1])
local WIDTH = 5

-- When entries of a life end: as an index has it, and as a record does. Most are of the same life.
local ends, expiry = {}, {}
for entry = 2 + 2 * indexes, #ARGV, WIDTH do
  local text = ARGV[entry + 4]
  if not ends[text] then
    local life = tonumber(text)
    if life > 0 then ends[text], expiry[text] = number(now + life), {'expires_at', seconds((now + life) * 1000)}
    else ends[text], expiry[text] = 'inf', {} end
  end
end

-- The indexes first: a key of another type is met here, before any record is written.
local entry, bound = 2 + 2 * indexes, '(' .. number(now)
for i = 1, indexes do
  local index, namespaces, name = KEYS[2 * i - 1], KEYS[2 * i], ARGV[2 * i]
  local count, members = tonumber(ARGV[2 * i + 1]), {}
  drop_ended(index, bound, count)
  drop_ended(namespaces, bound, 1)
  for _ = 1, count do
    members[#members + 1] = ends[ARGV[entry + 4]]
    members[#members + 1] = ARGV[entry + 1]
    entry = entry + WIDTH
  end
  call('ZADD', index, unpack(members))
  update_namespace(index, namespaces, name)
end

entry = 2 + 2 * indexes
local record = 2 * indexes + 1
for i = 1, indexes do
  local namespace = ARGV[2 * i]
  for _ = 1, tonumber(ARGV[2 * i + 1]) do
    local life = ARGV[entry + 4]
    store(KEYS[record], ends[life] ~= 'inf' and ends[life], 'pk', ARGV[entry], 'namespace', namespace,
      'item_key', ARGV[entry + 1], 'encoding', ARGV[entry + 2], 'value', ARGV[entry + 3], 'created_at', created,
      unpack(expiry[life]))
    entry = entry + WIDTH
    record = record + 1
  end
end
