-- Notes that a coordinator is alive and forgets those that are not. The time is the server's, read by the caller just before.
--
-- KEYS[1]  members (zset: name, alive until)
-- ARGV[1]  now (ms)    ARGV[2]  the caller's name    ARGV[3]  the caller is alive until (ms)
--
-- answers  the names of all that are alive
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[2])
return redis.call('ZRANGE', KEYS[1], 0, -1)
