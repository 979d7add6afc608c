#!lua flags=allow-oom
-- List checkpoint ids, newest first, of several namespaces.
-- KEYS: checkpoints*   ARGV: how many of each, upper limit per namespace ('+', '(ID' or '[ID')
local reply = {}
for i = 2, #ARGV do
  reply[i - 1] = call('ZREVRANGEBYLEX', KEYS[i - 1], ARGV[i], '-', 'LIMIT', 0, ARGV[1])
end
return reply
