#!lua
-- use: now_us, number, sane, last_gone, enter_namespace, other_unit
-- Tell the index of namespaces that items are put to some for a while, before they are. That is in a cluster; on one
-- server it is told of each put, and a lease lasts no time.
-- KEYS: namespace-index x3, clock, namespace-index by name of other units, unit
-- ARGV: unit or '', milliseconds that the leases last, and for each namespace: name, microseconds that must be in the
-- lease, milliseconds that the items live at most, 0 for ever
-- Returns for each: until when they are put, in microseconds; by when they end, in milliseconds, 0 for never; and a time
-- before which nothing is put, if the namespace is a new one.
local refused = other_unit(KEYS[1], KEYS[5], KEYS[6], ARGV[1])
if refused then return refused end
local present, told = now_us(), {}
local now = math.floor(present / 1000)
for at = 3, #ARGV, 3 do
  local name, life = ARGV[at], tonumber(ARGV[at + 2])
  local floor = last_gone(KEYS[4])
  -- A bound that far ahead is no lease: the server's clock was set back.
  local known = sane(tonumber(call('ZSCORE', KEYS[2], name) or nil)) or 0
  if known > present + 2 * GRACE * 1000 then floor = math.max(floor, known) end
  local lease = math.max(present, tonumber(ARGV[at + 1]), floor) + tonumber(ARGV[2]) * 1000
  local most = life > 0 and math.max(math.floor(lease / 1000), now) + life + 1 or 0
  enter_namespace(KEYS[1], KEYS[2], KEYS[3], KEYS[4], name, lease, most, now)
  for _, word in ipairs({lease, most, floor}) do told[#told + 1] = number(word) end
end
if ARGV[1] ~= '' then call('SET', KEYS[6], ARGV[1]) end
return told
