#!lua flags=allow-oom
-- use: number
-- Find threads of which an index of metadata may lack something: they were updated at another time than it says. Only
-- those are looked at that were updated since somebody looked last, and, as clocks go wrong, in the second before.
-- KEYS: thread-index by time, metadata-index whole, rest, until, by value
-- ARGV: name, where to begin, '' for where somebody ended, how many threads, tag
-- Returns where to go on, '' for nowhere; how many threads the index names for the tag; how many it lacks.
local by_time, whole, rest, until_, by_value = unpack(KEYS)
local from, count = ARGV[2], tonumber(ARGV[3])
local reached = tonumber(call('ZSCORE', until_, ARGV[1]) or nil)
if from == '' then from = reached and number(reached - 1000000) or '-inf' end
local found = call('ZRANGEBYSCORE', by_time, from, '+inf', 'WITHSCORES', 'LIMIT', 0, count)
local threads, known = {}, {}
for i = 1, #found, 2 do threads[#threads + 1] = found[i] end
if #threads > 0 then
  local lacking = {}
  for i, score in ipairs(call('ZMSCORE', whole, unpack(threads))) do
    if score == found[2 * i] then known[#known + 1] = threads[i]
    else lacking[#lacking + 1], lacking[#lacking + 2] = 0, threads[i] end
  end
  if #lacking > 0 then call('ZADD', rest, unpack(lacking)) end
  local latest = found[#found]
  if not reached or tonumber(latest) > reached then call('ZADD', until_, latest, ARGV[1]) end
end
local named = call('ZLEXCOUNT', by_value, '[' .. ARGV[4], '(' .. ARGV[4] .. '\255')
local left = call('ZCARD', rest)
if left > 0 and #known > 0 then left = left - call('ZREM', rest, unpack(known)) end
return {#threads == count and '(' .. found[#found] or '', named, left}
