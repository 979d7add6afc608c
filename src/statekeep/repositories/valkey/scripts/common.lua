-- Shared by all scripts. Scripts touch only the keys declared in KEYS; times are those of the server.

local call = redis.call

local function now_us()
  local time = call('TIME')
  return time[1] * 1000000 + time[2]
end

local function number(value)
  return string.format('%.0f', value)
end

-- Undo the encoding of a part of a key.
local function decoded(part)
  if not string.find(part, '%', 1, true) then return part end
  return (string.gsub(part, '%%(%x%x)', function(digits) return string.char(tonumber(digits, 16)) end))
end

-- Microseconds as seconds, the way Python writes them.
local function seconds(us)
  local text = string.format('%.0f.%06.0f', math.floor(us / 1000000), us % 1000000)
  return (string.gsub(string.gsub(text, '0+$', ''), '%.$', '.0'))
end

-- Run a command with a long list of arguments in pieces that Lua's stack can hold.
local function each_chunk(list, run)
  for first = 1, #list, 2000 do
    run(first, math.min(first + 1999, #list))
  end
end

-- What a shared key's TTL was (PTTL: -2 no key, -1 for ever), before it is written to.
local function ttl_of(key)
  return call('PTTL', key)
end

-- Keep a shared key at least as long as what was just stored under it. ttl 0 is for ever.
local function hold(key, before, ttl)
  if ttl == 0 then
    if before >= 0 then call('PERSIST', key) end
  elseif before == -2 or (before >= 0 and before < ttl) then
    call('PEXPIRE', key, ttl)
  end
end

-- Lengthen the life of a key that has an end; never shorten it.
local function lengthen(key, ttl)
  call('PEXPIRE', key, ttl, 'GT')
end

-- Keep the expiry index for ever, if something that it describes is: nobody else would drop what ends in there.
local function outlast(expiry, described)
  for _, key in ipairs(described) do
    if call('PTTL', key) == -1 then call('PERSIST', expiry) end
  end
end
