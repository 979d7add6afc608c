#!lua flags=allow-oom
-- use: now_us, drop_ended
-- The items of some namespaces, the last put first.
-- KEYS: (recency expiry index [vectors])*
-- ARGV: how many keys are of one namespace, the greatest time, how many items
-- Returns the numbers of namespaces whose order lacks some items, and (number of the namespace, key, time)*.
local size, latest, wanted = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local now = math.floor(now_us() / 1000)
local lacking, heads = {}, {}
for first = 1, #KEYS, size do
  local recency, index = KEYS[first], KEYS[first + 2]
  drop_ended(recency, KEYS[first + 1], index, size == 4 and KEYS[first + 3], now)
  if call('ZCARD', index) > call('ZCARD', recency) then lacking[#lacking + 1] = (first - 1) / size end
  local head = call('ZREVRANGEBYSCORE', recency, latest, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if head[1] then heads[#heads + 1] = {tonumber(head[2]), first} end
end
local function is_newer(one, other) return one[1] > other[1] end
table.sort(heads, is_newer)
-- Each of those before it has an item that is no older than its newest.
local found = {}
for rank = 1, math.min(wanted, #heads) do
  local first = heads[rank][2]
  local list = call('ZREVRANGEBYSCORE', KEYS[first], latest, '-inf', 'WITHSCORES', 'LIMIT', 0, wanted - rank + 1)
  for i = 1, #list, 2 do found[#found + 1] = {tonumber(list[i + 1]), (first - 1) / size, list[i], list[i + 1]} end
end
if #heads > 1 then table.sort(found, is_newer) end
local reply = {}
for i = 1, math.min(wanted, #found) do
  local entry = found[i]
  reply[3 * i - 2], reply[3 * i - 1], reply[3 * i] = entry[2], entry[3], entry[4]
end
return {lacking, reply}
