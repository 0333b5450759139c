-- Forgets the index entries of runs that are gone, and corrects when the others are expected to go.
--
-- KEYS[1]  ended runs (zset: entry, expected to leave at)    KEYS[2..]  the runs' keys and the indexes
-- ARGV     per run: entry in KEYS[1], member in the indexes, index in KEYS of the run's key, number k of indexes,
--          k indexes in KEYS of the indexes
--
-- answers  how many runs were forgotten
local gone = 0
local at, last = 1, #ARGV
while at <= last do
  local entry, member, indexes = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 3])
  local leaves = redis.call('PEXPIRETIME', KEYS[tonumber(ARGV[at + 2])])
  if leaves == -2 then
    for i = 1, indexes do
      redis.call('ZREM', KEYS[tonumber(ARGV[at + 3 + i])], member)
    end
    redis.call('ZREM', KEYS[1], entry)
    gone = gone + 1
  elseif leaves == -1 then
    -- The key was written anew and stays.
    redis.call('ZREM', KEYS[1], entry)
  else
    redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', leaves), entry)
  end
  at = at + 4 + indexes
end
return gone
