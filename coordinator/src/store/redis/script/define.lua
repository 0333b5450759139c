-- Stores a definition under its address and, if that version is free, under its version.
--
-- KEYS[1]  the definition (string)    KEYS[2]  the versions of its name (hash: 'v' .. version, and 'latest')
-- ARGV[1]  the definition    ARGV[2]  field of the version    ARGV[3]  what the version points to
-- ARGV[4]  when it was registered (ms)
--
-- answers  false: stored; text: what the version points to already, nothing is written
local taken = redis.call('HGET', KEYS[2], ARGV[2])
if taken then
  return taken
end
redis.call('SET', KEYS[1], ARGV[1], 'NX')
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
local latest = redis.call('HGET', KEYS[2], 'latest')
if not latest or tonumber(string.match(latest, '^%d+')) <= tonumber(ARGV[4]) then
  redis.call('HSET', KEYS[2], 'latest', ARGV[3])
end
return false
