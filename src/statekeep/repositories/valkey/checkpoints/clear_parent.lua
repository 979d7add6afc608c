#!lua flags=allow-oom
-- Take the parent away from checkpoints whose parent was deleted.
-- KEYS: head, record*   ARGV: id*
for i, id in ipairs(ARGV) do
  call('HDEL', KEYS[i + 1], 'parent_id')
  if call('HGET', KEYS[1], 'checkpoint_id') == id then call('HDEL', KEYS[1], 'parent_id') end
end
return 1
