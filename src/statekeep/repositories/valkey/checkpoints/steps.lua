#!lua flags=allow-oom
-- use: last_part, members_of, restore_writes, pieces_at
-- Read what the walk to the ancestors needs of many checkpoints.
-- KEYS: writes, pending, record*   ARGV: number of channels, encoded channel*, one encoded id per record
-- Returns one list, per record: id or '', parent id or '', whether its list of channels is whole, for each channel the
-- field of its stored value with those of its pieces, or '', number of members, member* (of the channels' pending writes); 0 for one that is not
-- there.
local writes, count = KEYS[1], tonumber(ARGV[1])
restore_writes(writes, KEYS[2])
local wanted, starts = {}, {}
for i = 1, count do
  local channel = ARGV[1 + i]
  wanted[channel], starts[i] = true, ' ' .. channel .. ':'
end
local reply, size = {}, 0
for i = 3, #KEYS do
  local row = call('HMGET', KEYS[i], 'checkpoint_id', 'parent_id', 'channels')
  local channels = row[3]
  if row[1] or channels or call('EXISTS', KEYS[i]) == 1 then
    local whole = channels and (channels == '' or string.byte(channels, -1) == 32)
    reply[size + 1], reply[size + 2], reply[size + 3] = row[1] or '', row[2] or '', whole and 1 or 0
    -- A field begins with its channel; what has no value has a `!` or `?` in front.
    local tokens = ' ' .. (channels or '')
    for j = 1, count do
      local at = string.find(tokens, starts[j], 1, true)
      local field = at and string.match(tokens, '%S+', at + 1) or ''
      local own = at and pieces_at(tokens, at + #field + 2) or {}
      reply[size + 3 + j] = #own > 0 and field .. ' ' .. table.concat(own, ' ') or field
    end
    local at = size + 4 + count
    size = at
    for _, member in ipairs(members_of(writes, ARGV[count + i - 1])) do
      if wanted[last_part(member)] then
        size = size + 1
        reply[size] = member
      end
    end
    reply[at] = size - at
  else
    size = size + 1
    reply[size] = 0
  end
end
return reply
