#!lua flags=allow-oom
-- use: forget_thread
-- Let the thread index and runs forget a thread, unless it has checkpoints.
-- KEYS: namespaces thread-index x3 run*   ARGV: thread
if not forget_thread(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1]) then return 0 end
for i = 5, #KEYS do call('SREM', KEYS[i], ARGV[1]) end
return 1
