#!lua flags=allow-oom
-- use: now_us, merged, other_unit
-- The namespaces at or below one that were put to last. If they are those that were expected, also their newest items.
-- KEYS: namespace-index by name and by time, namespace-index by name of other units, unit, (recency expiry index
-- [vectors])* of those expected, if all are in this slot
-- ARGV: from, to, name, how many namespaces, how many items, how many keys are of one namespace, unit or '', name of
-- those expected*
-- Returns (name, time)*, the newest first; 1 and what `merged` does if the items come, too, and else 0.
local refused = other_unit(KEYS[1], KEYS[3], KEYS[4], ARGV[7])
if refused then return refused end
local low, high, prefix, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local list, found = call('ZRANGEBYLEX', KEYS[1], low, high, 'LIMIT', 0, 1000), {}
-- If there are many, they are likely to be among the newest of all.
if #list == 1000 and call('ZCARD', KEYS[2]) >= call('ZCARD', KEYS[1]) then
  local beginning = prefix .. '\0'
  for first = 0, 20000, 200 do
    local newest = call('ZREVRANGE', KEYS[2], first, first + 199, 'WITHSCORES')
    for i = 1, #newest, 2 do
      local name = newest[i]
      if prefix == '' or name == prefix or string.sub(name, 1, #beginning) == beginning then
        found[#found + 1] = name
        found[#found + 1] = newest[i + 1]
        if #found == 2 * most then return {found, 0} end
      end
    end
    if #newest == 0 then return {found, 0} end
  end
end
if #list == 1000 then list, found = call('ZRANGEBYLEX', KEYS[1], low, high), {} end
local spaces = {}
for first = 1, #list, 2000 do
  local last = math.min(first + 1999, #list)
  for i, time in ipairs(call('ZMSCORE', KEYS[2], unpack(list, first, last))) do
    spaces[#spaces + 1] = {list[first + i - 1], time or 'inf', tonumber(time or 'inf')}
  end
end
if #spaces > 1 then table.sort(spaces, function(one, other) return one[3] > other[3] end) end
for i = 1, math.min(most, #spaces) do
  found[2 * i - 1] = spaces[i][1]
  found[2 * i] = spaces[i][2]
end
local guess, is_guessed = {}, KEYS[5] and #ARGV - 7 == #spaces
for i = 8, #ARGV do guess[ARGV[i]] = true end
for _, space in ipairs(spaces) do is_guessed = is_guessed and guess[space[1]] end
if not is_guessed or #spaces >= most then return {found, 0} end
return {found, 1, unpack(merged(5, tonumber(ARGV[6]), '+inf', tonumber(ARGV[5]), math.floor(now_us() / 1000)))}
