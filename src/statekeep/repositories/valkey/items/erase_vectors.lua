#!lua flags=allow-oom
-- Remove records of vectors that are not of the present values of their items.
-- KEYS: (record of the item, record of a vector, index of its collection)*   ARGV: member of that index*
for i = 1, #ARGV do
  local record, document, index = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local stamp = call('HGET', record, 'updated_at')
  if not stamp or call('HGET', document, 'updated_at') ~= stamp then
    call('DEL', document)
    call('ZREM', index, ARGV[i])
  end
end
return 1
