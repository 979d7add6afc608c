#!lua
-- Note that a thread was updated.
-- KEYS: thread-index x2   ARGV: thread
touch_thread(KEYS[1], KEYS[2], ARGV[1], now_us())
return 1
