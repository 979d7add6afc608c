#!lua flags=allow-oom
-- use: now_us, number
-- Find threads of which an index of metadata may lack something: they were updated at another time than it says. Only
-- those are looked at that were updated since somebody looked last, and, as clocks go wrong, in the second before.
-- KEYS: thread-index by time, metadata-index whole, rest, until, by value
-- ARGV: name, where to begin, '' for where somebody ended, how many threads in a step, of which there are up to five, tag
-- Returns where to go on, '' for nowhere; how many threads the index names for the tag; how many it lacks.
local by_time, whole, rest, until_, by_value = unpack(KEYS)
local from, count = ARGV[2], tonumber(ARGV[3])
local reached = tonumber(call('ZSCORE', until_, ARGV[1]) or nil)
local now = now_us()
if from == '' then from = reached and number(math.min(reached, now) - 1000000) or '-inf' end
local latest, indexed = reached, {}
for page = 1, 5 do
  local found = call('ZRANGEBYSCORE', by_time, from, '+inf', 'WITHSCORES', 'LIMIT', 0, count)
  local threads, known, lacking = {}, {}, {}
  for i = 1, #found, 2 do threads[#threads + 1] = found[i] end
  if #threads > 0 then
    for i, score in ipairs(call('ZMSCORE', whole, unpack(threads))) do
      if score == found[2 * i] then known[#known + 1] = threads[i]
      else lacking[#lacking + 1], lacking[#lacking + 2] = 0, threads[i] end
    end
    if #lacking > 0 then call('ZADD', rest, unpack(lacking)) end
    if #known > 0 then indexed[#indexed + 1] = known end
    -- No time in the future: what is put meanwhile would never be looked at.
    latest = math.max(latest or 0, math.min(tonumber(found[#found]), now))
    from = '(' .. found[#found]
  end
  if #threads < count then
    from = ''
    break
  end
end
if latest ~= reached then call('ZADD', until_, number(latest), ARGV[1]) end
local named = call('ZLEXCOUNT', by_value, '[' .. ARGV[4], '(' .. ARGV[4] .. '\255')
-- Last, as they may have been the last of them.
local left = call('ZCARD', rest)
for _, known in ipairs(indexed) do
  if left > 0 then left = left - call('ZREM', rest, unpack(known)) end
end
return {from, named, left}
