-- Reads one page of an index, highest score first; equal scores in descending order of the members' bytes.
--
-- KEYS[1]  the index (zset)
-- ARGV[1]  only scores below this ('' for all)    ARGV[2], ARGV[3]  only what comes after this score and member ('' for all)
-- ARGV[4]  entries at most
--
-- answers  member, score, member, score ...
local index = KEYS[1]
local start = 0
if ARGV[1] ~= '' then
  start = redis.call('ZCOUNT', index, ARGV[1], '+inf')
end
if ARGV[2] ~= '' then
  -- Lua compares strings by the server's locale; the index compares bytes.
  local function less(a, b)
    for i = 1, #b do
      local x, y = string.byte(a, i) or -1, string.byte(b, i)
      if x ~= y then
        return x < y
      end
    end
    return false
  end
  local low = redis.call('ZCOUNT', index, '(' .. ARGV[2], '+inf')
  local high = low + redis.call('ZCOUNT', index, ARGV[2], ARGV[2])
  while low < high do
    local middle = math.floor((low + high) / 2)
    if less(redis.call('ZREVRANGE', index, middle, middle)[1], ARGV[3]) then
      high = middle
    else
      low = middle + 1
    end
  end
  if low > start then
    start = low
  end
end
return redis.call('ZREVRANGE', index, start, start + tonumber(ARGV[4]) - 1, 'WITHSCORES')
