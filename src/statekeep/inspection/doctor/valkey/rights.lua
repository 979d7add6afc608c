#!lua flags=allow-oom
-- Try commands as other scripts run them, and leave nothing behind.
-- KEYS: key, another one; neither is there   ARGV: commands that find nothing, commands that make something
-- Each list is JSON: of commands, each a name and a list of words, in which $1 and $2 stand for the keys.
-- Returns the names of commands that are refused, each with what the server says.
local refused = {}

local function try(name, words)
  local command = {}
  for at, word in ipairs(words) do
    command[at] = (word == '$1' and KEYS[1]) or (word == '$2' and KEYS[2]) or word
  end
  local reply = redis.pcall(unpack(command))
  if type(reply) ~= 'table' or not reply['err'] then return true end
  local text = string.lower(reply['err'])
  for _, sign in ipairs({'noperm', 'acl failure', 'permission', 'unknown', 'not allowed'}) do
    if string.find(text, sign, 1, true) then
      refused[#refused + 1] = name
      refused[#refused + 1] = reply['err']
      return false
    end
  end
  return true
end

for _, command in ipairs(cjson.decode(ARGV[1])) do
  try(command[1], command[2])
end
-- What can be made must go again, so nothing is made by who may not delete.
if try('DEL', {'DEL', '$1'}) then
  for _, command in ipairs(cjson.decode(ARGV[2])) do
    try(command[1], command[2])
    try('DEL', {'DEL', '$1'})
  end
end
return refused
