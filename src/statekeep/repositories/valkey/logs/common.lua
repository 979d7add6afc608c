-- Shared by the scripts of logs.
--
-- A log is a list; each of its elements is the decimal digits of a position, a space, and the value. Its shard has an
-- index of the names of logs, one of those that end, and the last position that was given to any value in it.
--
-- Scripts that write have the keys log life names ends clock call, and the arguments: until when this is done, in ms; for
-- how much longer the answer is kept; the name of the log. A client that lost the answer asks again, and gets it from
-- `call`. One that is too late is told so, with the server's time: nothing is done then.

-- use: number
local function earlier_answer(us)
  local kept = call('GET', KEYS[6])
  if kept then return {cmsgpack.unpack(kept)} end
  local now, till, more = math.floor(us / 1000), tonumber(ARGV[1]), tonumber(ARGV[2])
  if now > till or now + 4 * more < till then return {{'late', number(now)}} end
end

-- use: number
local function answer(reply)
  call('SET', KEYS[6], cmsgpack.pack(reply), 'PXAT', number(tonumber(ARGV[1]) + tonumber(ARGV[2])))
  return reply
end

-- The position of an element; nil if others stored it.
local function position_of(element)
  return tonumber(string.match(element or '', '^(%d+) ') or nil)
end

-- Forget the names of some logs that ended a minute ago: one that a cluster moved to another node may have lived a bit
-- longer than is known here.
-- use: number
local function drop_ended(names, ends, now)
  local ended = call('ZRANGEBYSCORE', ends, '-inf', '(' .. number(now - 60000), 'LIMIT', 0, 100)
  if #ended > 0 then
    call('ZREM', names, unpack(ended))
    call('ZREM', ends, unpack(ended))
  end
end

-- Forget a log that has no values any more.
local function leave(life, names, ends, name)
  call('DEL', life)
  call('ZREM', names, name)
  call('ZREM', ends, name)
end

-- All that could fail for a key of another type does so before anything is written. Returns the number of values.
local function looked_at(log, life, names, ends)
  call('GET', life)
  call('ZCARD', names)
  call('ZCARD', ends)
  return call('LLEN', log)
end
