#!lua
-- use: now_us, number, store, drop_ended, update_namespace
-- Store entries with the times that they had, and index them. Those that have ended are left out.
-- KEYS: (index, index of namespaces)*, records
-- ARGV: number of indexes, (namespace, how many of the entries are in it)*,
--   (pk, key, encoding, value, created_at, end in milliseconds or '', expires_at or '')*
local now = math.ceil(now_us() / 1000)
local indexes = tonumber(ARGV[1])
local WIDTH = 7

local function is_over(entry)
  return ARGV[entry + 5] ~= '' and tonumber(ARGV[entry + 5]) <= now
end

-- The indexes first: a key of another type is met here, before any record is written.
local entry, bound = 2 + 2 * indexes, '(' .. number(now)
for i = 1, indexes do
  local index, namespaces, name = KEYS[2 * i - 1], KEYS[2 * i], ARGV[2 * i]
  local count, members = tonumber(ARGV[2 * i + 1]), {}
  for _ = 1, count do
    if not is_over(entry) then
      members[#members + 1] = ARGV[entry + 5] == '' and 'inf' or ARGV[entry + 5]
      members[#members + 1] = ARGV[entry + 1]
    end
    entry = entry + WIDTH
  end
  if #members > 0 then
    drop_ended(index, bound, count)
    drop_ended(namespaces, bound, 1)
    call('ZADD', index, unpack(members))
    update_namespace(index, namespaces, name)
  end
end

entry = 2 + 2 * indexes
local record = 2 * indexes + 1
for i = 1, indexes do
  local namespace = ARGV[2 * i]
  for _ = 1, tonumber(ARGV[2 * i + 1]) do
    local ends, expiry = ARGV[entry + 5], {}
    if ends ~= '' then expiry = {'expires_at', ARGV[entry + 6]} end
    if not is_over(entry) then
      store(KEYS[record], ends ~= '' and ends, 'pk', ARGV[entry], 'namespace', namespace, 'item_key', ARGV[entry + 1],
        'encoding', ARGV[entry + 2], 'value', ARGV[entry + 3], 'created_at', ARGV[entry + 4], unpack(expiry))
    end
    entry = entry + WIDTH
    record = record + 1
  end
end
