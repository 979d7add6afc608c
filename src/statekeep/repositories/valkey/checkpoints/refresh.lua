#!lua
-- use: now_us, lengthen, prolong, refresh
-- Let a checkpoint and its pending writes live for another ttl. Returns its run, if the index of that has to live
-- longer, too, else ''.
-- KEYS: head values checkpoints writes expiry namespaces pending record, one record per write
-- ARGV: id, ttl in ms, one index member per write
local head, values, checkpoints, writes, expiry, namespaces, pending, record = unpack(KEYS, 1, 8)
local id, ttl = ARGV[1], tonumber(ARGV[2])
local now = math.floor(now_us() / 1000)
local run = refresh(record, head, values, checkpoints, writes, expiry, namespaces, pending, id, ttl, now)
local entries = {}
for i = 9, #KEYS do
  lengthen(KEYS[i], ttl)
  entries[#entries + 1] = 'w' .. ARGV[i - 6]
end
prolong(expiry, entries, string.format('%.0f', now + ttl))
return run or ''
