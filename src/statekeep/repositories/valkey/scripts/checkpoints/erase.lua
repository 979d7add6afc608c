#!lua flags=allow-oom
-- Delete checkpoint and pending write records with their index entries; with the last one, all that was shared.
-- KEYS: head values checkpoints writes expiry namespaces pending, record*
-- ARGV: namespace, number of checkpoints, id*, member* (the records in the same order)
-- Returns how many checkpoints and pending writes the namespace still has.
local head, values, checkpoints, writes, expiry, namespaces, pending = unpack(KEYS, 1, 7)
local namespace, count = ARGV[1], tonumber(ARGV[2])
local newest = call('HGET', head, 'checkpoint_id')
for i = 3, #ARGV do
  local is_checkpoint = i <= count + 2
  call('ZREM', is_checkpoint and checkpoints or writes, ARGV[i])
  call('ZREM', expiry, (is_checkpoint and 'c' or 'w') .. ARGV[i])
  call('UNLINK', KEYS[i + 5])
  if not is_checkpoint then call('HDEL', pending, ARGV[i]) end
  if is_checkpoint and ARGV[i] == newest then call('UNLINK', head) end
end
local left = {call('ZCARD', checkpoints), call('ZCARD', writes)}
if left[1] == 0 then
  call('UNLINK', head, values)
  if left[2] == 0 then
    call('UNLINK', checkpoints, writes, pending, expiry)
    call('ZREM', namespaces, namespace)
  else
    call('ZADD', namespaces, 'XX', 0, namespace)
  end
end
return left
