#!lua flags=allow-oom
-- Run one reading command, on a primary only.
-- KEYS: key   ARGV: command, argument*
return call(ARGV[1], KEYS[1], unpack(ARGV, 2))
