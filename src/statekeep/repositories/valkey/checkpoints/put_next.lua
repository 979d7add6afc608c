#!lua
-- Store the checkpoint that follows the newest one, if the namespace is as its client left it by the put of that one: what
-- that one names is there then, and nothing has to be looked for. Otherwise store nothing.
-- Returns -1 if it stored nothing, else how many fields the hash of values has.
-- KEYS: head values checkpoints expiry namespaces record, [thread-index by time, by name, [run],
--   (metadata-index by value, by thread, whole)*]
-- ARGV: generation, number of fields of the hash of values, place of the last token, of the last word,
--   thread, namespace, id, pk, parent id, channels, created_at, metadata, encoding, header,
--   token under which nothing may be stored*, (field of the hash of values, value)*, (further field of the record, value)*,
--   tag for each index of metadata
local head, values, checkpoints, expiry, namespaces, record, by_time, by_name, run = unpack(KEYS)
local generation, length, last_token, last_word, thread, namespace, id = unpack(ARGV, 1, 7)

local stored = call('HMGET', values, 'generation', unpack(ARGV, 15, last_token))
if stored[1] ~= generation then return -1 end
for i = 2, last_token - 13 do
  if stored[i] then return -1 end
end
-- If somebody removed values, be it because no checkpoint needed them any more, there are fewer.
if call('HLEN', values) ~= tonumber(length) then return -1 end
-- EXISTS counts a key each time that it is named: the index must be there, the others must not.
if call('EXISTS', checkpoints, checkpoints, expiry, record) ~= 2 then return -1 end
if call('ZSCORE', namespaces, namespace) ~= '1' then return -1 end

local tags
if KEYS[10] then
  -- use: taken_tags
  if #KEYS % 3 == 2 then run = nil end
  tags = taken_tags(math.floor((#KEYS - 8) / 3))
end

length = length + call('HSET', values, unpack(ARGV, last_token + 1, last_word))
call('HSET', record, 'thread_id', thread, 'namespace', namespace, 'checkpoint_id', id, 'pk', ARGV[8], 'parent_id', ARGV[9],
  'channels', ARGV[10], 'created_at', ARGV[11], 'metadata', ARGV[12], 'encoding', ARGV[13], 'header', ARGV[14],
  unpack(ARGV, last_word + 1))
call('COPY', record, head, 'REPLACE')
call('ZADD', checkpoints, 0, id)
if by_time then
  local time = call('TIME')
  local us = time[1] * 1000000 + time[2]
  if tags then
    -- use: index_metadata
    index_metadata(run and 10 or 9, tags, thread, call('ZSCORE', by_time, thread), us)
  end
  if call('ZADD', by_time, us, thread) == 1 then call('ZADD', by_name, 0, thread) end
end
if run then
  call('SADD', run, thread)
  call('PERSIST', run)
end
return length
