#!lua flags=allow-oom
-- use: add, each_chunk, state_of
-- When all records of a namespace end at a time, have what they share end then, too, and no later.
-- KEYS: values checkpoints writes expiry pending
-- ARGV: end in milliseconds since 1970 or 0 for never, the state of the namespace, 1 if these are the last, field of values*
-- Returns 0 if others changed the namespace (nothing was done then), 2 if there is more to do, else 1; and the state.
local values, checkpoints, writes, expiry = unpack(KEYS)
local ends, state = ARGV[1], ARGV[2]
local MOST = 1000

if ends == '0' then
  -- What is used for ever needs no entry. Nothing that ends is touched, so it does not matter what others do.
  local found = call('ZRANGEBYSCORE', expiry, '+inf', '+inf', 'LIMIT', 0, MOST)
  if #found > 0 then call('ZREM', expiry, unpack(found)) end
  return {#found == MOST and 2 or 1, state}
end

if state_of(values, checkpoints, writes, expiry) ~= state then return {0, ''} end
-- Somebody may have let a record live longer meanwhile: then what it needs is to end with the last of all at first.
local last = call('ZRANGE', expiry, -1, -1, 'WITHSCORES')[2] or ends
if last ~= 'inf' and tonumber(last) < tonumber(ends) then last = ends end
local added = {}
for i = 4, #ARGV do added[#added + 1], added[#added + 2] = last, 'v' .. ARGV[i] end
each_chunk(added, function(first, last) call('ZADD', expiry, 'NX', unpack(added, first, last)) end)
if ARGV[3] ~= '1' then return {1, state_of(values, checkpoints, writes, expiry)} end

-- What ends later than the records. The entry of a record that lives longer comes before those of the values that it needs:
-- nothing from there on is touched.
local later = call('ZRANGEBYSCORE', expiry, '(' .. ends, '+inf', 'LIMIT', 0, MOST)
local lowered, is_stopped = {}, false
for _, entry in ipairs(later) do
  local kind = string.byte(entry)
  if kind ~= 118 and kind ~= 114 and kind ~= 109 then  -- v, r, m
    is_stopped = true
    break
  end
  lowered[#lowered + 1], lowered[#lowered + 2] = ends, entry
end
add('ZADD', expiry, lowered)
if #later == MOST and not is_stopped then return {2, state_of(values, checkpoints, writes, expiry)} end

last = call('ZRANGE', expiry, -1, -1, 'WITHSCORES')[2]
state = state_of(values, checkpoints, writes, expiry)
if last and last ~= 'inf' then
  for _, key in ipairs(KEYS) do
    local at = call('PEXPIRETIME', key)
    if at == -1 or at > tonumber(last) then call('PEXPIREAT', key, last) end
  end
end
return {1, state}
