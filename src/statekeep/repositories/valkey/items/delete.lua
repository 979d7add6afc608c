-- One item is deleted as most are: nothing ends in its namespace, it has no vectors, and it is not the last one. All else
-- is done by the script behind this, which it makes a plan for.
-- KEYS: recency expiry index state sequence record call, and namespace-index x3, clock and the keys of units if they are in
--   this slot
-- ARGV: name of the namespace, key, until when it is done in ms, how much longer the answer is kept, unit or ''
local plan
do
  local answered = call('GET', KEYS[7])
  if answered then return cmsgpack.unpack(answered) end
  local latest, kept, time = tonumber(ARGV[3]), tonumber(ARGV[4]), call('TIME')
  local now = time[1] * 1000
  local state = call('HMGET', KEYS[4], 'last', 'ends')
  -- Somewhat before and after, the other script is exact.
  if state[1] and not state[2] and now < latest - 1000 and now + 4 * kept > latest + 1000 then
    local record = KEYS[6]
    local before = call('HMGET', record, 'updated_at', 'vectors')
    local us = before[1] and (tonumber(before[1]) or 1e300) * 1000000 or 0
    if not before[2] and us <= (tonumber(state[1]) or -1) + 0.5 and call('ZCARD', KEYS[3]) > 1 then
      call('ZCARD', KEYS[1])
      local reply = {'done', {call('DEL', record), ''}}
      call('ZREM', KEYS[3], ARGV[2])
      call('ZREM', KEYS[1], ARGV[2])
      call('SET', KEYS[7], cmsgpack.pack(reply), 'PXAT', string.format('%.0f', latest + kept))
      return reply
    end
  end
  plan = {
    spaces = {{name = 1, first = 1}}, names = KEYS[8] and 8, unit = ARGV[5], call = 7, ['until'] = latest, kept = kept,
    actions = {{kind = 'delete', space = 1, record = 6, key = ARGV[2]}},
  }
end
