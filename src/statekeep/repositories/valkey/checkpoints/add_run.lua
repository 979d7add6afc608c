#!lua
-- use: add_run
-- Note that a run put a checkpoint into a thread.
-- KEYS: run   ARGV: thread, ttl in ms
add_run(KEYS[1], ARGV[1], tonumber(ARGV[2]))
return 1
