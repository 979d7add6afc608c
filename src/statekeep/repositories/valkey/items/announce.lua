#!lua
-- use: now_us, number, sane, last_gone, enter_namespace
-- Tell the index of namespaces that items are put to one for a while, before they are. That is in a cluster; on one server
-- it is told of each put, and a lease lasts no time.
-- KEYS: namespace-index x3, clock   ARGV: name, microseconds that must be in the lease, milliseconds that the items live at
-- most, 0 for ever, milliseconds that the lease lasts
-- Returns until when they are put, in microseconds; by when they end, in milliseconds, 0 for never; and a time before
-- which nothing is put, if the namespace is a new one.
local present = now_us()
local now, life = math.floor(present / 1000), tonumber(ARGV[3])
local floor = last_gone(KEYS[4])
-- A bound that far ahead is no lease: the server's clock was set back.
local known = sane(tonumber(call('ZSCORE', KEYS[2], ARGV[1]) or nil)) or 0
if known > present + 2 * GRACE * 1000 then floor = math.max(floor, known) end
local lease = math.max(present, tonumber(ARGV[2]), floor) + tonumber(ARGV[4]) * 1000
local most = life > 0 and math.max(math.floor(lease / 1000), now) + life + 1 or 0
enter_namespace(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], lease, most, now)
return {number(lease), number(most), number(floor)}
