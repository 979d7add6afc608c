#!lua flags=allow-oom
-- Have the index of a thread's namespaces end with the last of them, and no later.
-- KEYS: namespaces, (checkpoints writes)*   ARGV: end of its records in milliseconds since 1970, 0 for never
-- Returns when it ends, in milliseconds since 1970; -1 for never, -2 if there is none; and how many have checkpoints.
local namespaces, last = KEYS[1], -2
local at, count = call('PEXPIRETIME', namespaces), call('ZCOUNT', namespaces, 1, 1)
if call('ZCARD', namespaces) ~= (#KEYS - 1) / 2 then return {at, count} end
for i = 2, #KEYS do
  local ends = call('PEXPIRETIME', KEYS[i])
  if ends == -1 then return {at, count} end
  last = math.max(last, ends)
end
if last == -2 and ARGV[1] ~= '0' then last = tonumber(ARGV[1]) end
if last == -2 or (at ~= -1 and at <= last) then return {at, count} end
call('PEXPIREAT', namespaces, string.format('%.0f', last))
return {last, count}
