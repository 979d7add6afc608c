#!lua
-- Store entries, and index them.
-- KEYS: (index, index of namespaces)*, records
-- ARGV: number of indexes, (namespace, how many of the entries are in it)*,
--   (pk, key, encoding, value, life in milliseconds or 0)*
local us = now_us()
local now = math.ceil(us / 1000)
local created = seconds(us)
local indexes = tonumber(ARGV[1])
local WIDTH = 5

local function ends_of(entry)
  local life = tonumber(ARGV[entry + 4])
  return life > 0 and number(now + life) or 'inf'
end

-- The indexes first: a key of another type is met here, before any record is written.
local entry = 2 + 2 * indexes
for i = 1, indexes do
  local index, namespaces, name = KEYS[2 * i - 1], KEYS[2 * i], ARGV[2 * i]
  local count = tonumber(ARGV[2 * i + 1])
  drop_ended(index, now, count)
  drop_ended(namespaces, now, 1)
  local members = {}
  for _ = 1, count do
    members[#members + 1] = ends_of(entry)
    members[#members + 1] = ARGV[entry + 1]
    entry = entry + WIDTH
  end
  call('ZADD', index, unpack(members))
  settle(index, namespaces, name)
end

entry = 2 + 2 * indexes
local record = 2 * indexes + 1
for i = 1, indexes do
  for _ = 1, tonumber(ARGV[2 * i + 1]) do
    local ends = ends_of(entry)
    local fields = {
      'pk', ARGV[entry], 'namespace', ARGV[2 * i], 'item_key', ARGV[entry + 1],
      'encoding', ARGV[entry + 2], 'value', ARGV[entry + 3], 'created_at', created
    }
    if ends ~= 'inf' then
      fields[#fields + 1] = 'expires_at'
      fields[#fields + 1] = seconds(tonumber(ends) * 1000)
    end
    call('UNLINK', KEYS[record])
    call('HSET', KEYS[record], unpack(fields))
    if ends ~= 'inf' then call('PEXPIREAT', KEYS[record], ends) end
    entry = entry + WIDTH
    record = record + 1
  end
end
