-- Takes a partition that nobody else holds.
--
-- KEYS[1]  the lease (string: its holder, expires by itself)    KEYS[2]  the partition's record (hash)
-- ARGV[1]  who takes it    ARGV[2]  for how long (ms)    ARGV[3]  least epoch
--
-- answers  the new epoch, higher than every one before; nil: somebody else holds it
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return false
end
local epoch = (tonumber(redis.call('HGET', KEYS[2], 'epoch')) or 0) + 1
local least = tonumber(ARGV[3])
if epoch < least then
  epoch = least
end
local text = string.format('%.0f', epoch)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('HSET', KEYS[2], 'owner', ARGV[1], 'epoch', text)
return text
