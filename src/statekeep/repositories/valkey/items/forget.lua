#!lua flags=allow-oom
-- use: now_us, forget_namespaces, sane
-- Forget namespaces that are empty, unless something was put there a moment ago, or may be.
-- KEYS: namespace-index x3, clock   ARGV: name*
local latest = now_us() - GRACE * 1000
for _, name in ipairs(ARGV) do
  local time = sane(tonumber(call('ZSCORE', KEYS[2], name) or nil))
  if not time or time <= latest then forget_namespaces(KEYS[1], KEYS[2], KEYS[3], KEYS[4], {name}) end
end
return 1
