-- One item is put as most are: it does not end, nor does anything else in its namespace, it has no vectors, and the index
-- of namespaces was told. All else is done by the script behind this, which it makes a plan for.
-- KEYS: recency expiry index state sequence record, and namespace-index x3, clock and the keys of units if they are in this slot
-- ARGV: name of the namespace, the same as in keys, primary key, key, value, milliseconds that it lives or '', the same as
--   a number of seconds, unit or '', and what was announced, see there
local plan
do
  local state = call('HMGET', KEYS[4], 'last', 'ends', 'most', 'lease')
  local last, lease = tonumber(state[1] or nil), tonumber(state[4] or nil)
  if last and lease and not state[2] and state[3] == '0' and ARGV[6] == '' then
    local time, record = call('TIME'), KEYS[6]
    local us = time[1] * 1000000 + time[2]
    local before = call('HMGET', record, 'version', 'created_at', 'updated_at', 'vectors', 'expires_at')
    local version, created = 1, before[2]
    local is_usual = last < us and us <= lease and not before[4] and not before[5]
    if is_usual and (before[1] or created or before[3]) then
      version = (tonumber(before[1] or nil) or 0) + 1
      is_usual = version > 1 and version < 1e15 and version % 1 == 0 and created and #created < 19
        and string.find(created, '^%d+%.%d+$') and (tonumber(before[3] or nil) or 1e300) * 1000000 < us
    end
    if is_usual and KEYS[8] then is_usual = call('ZSCORE', KEYS[8], ARGV[1]) end
    if is_usual then
      call('ZCARD', KEYS[1])
      call('ZADD', KEYS[3], 0, ARGV[4])
      local stamp = string.format('%s.%06d', time[1], time[2])
      if string.byte(stamp, -1) == 48 then stamp = string.gsub(string.gsub(stamp, '0+$', ''), '%.$', '.0') end
      local count = string.format('%.0f', version)
      if version == 1 then created = stamp end
      local added = call('HSET', record, 'pk', ARGV[3], 'namespace', ARGV[2], 'item_key', ARGV[4], 'value', ARGV[5],
        'created_at', created, 'updated_at', stamp, 'version', count)
      if added < 7 then
        call('PERSIST', record)
        if call('HLEN', record) > 7 then
          local kept = {pk = 1, namespace = 1, item_key = 1, value = 1, created_at = 1, updated_at = 1, version = 1}
          for _, name in ipairs(call('HKEYS', record)) do
            if not kept[name] then call('HDEL', record, name) end
          end
        end
      end
      local text = string.format('%.0f', us)
      call('ZADD', KEYS[1], text, ARGV[4])
      call('HSET', KEYS[4], 'last', text)
      if KEYS[8] then call('ZADD', KEYS[8], 'GT', text, ARGV[1]) end
      return {'done', {count, created, stamp, '', ''}}
    end
  end
  local life = tonumber(ARGV[6])
  plan = {
    spaces = {{name = 1, first = 1}}, names = KEYS[7] and 7, unit = ARGV[8],
    actions = {{kind = 'put', space = 1, record = 6, key = ARGV[4], value = 5, life = life, ttl = life and ARGV[7]}},
  }
  if ARGV[9] then plan.spaces[1].announced = {tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])} end
end
