-- Reads the first page of each of several indexes, highest score first; equal scores in descending order of the members' bytes.
--
-- KEYS     the indexes (zset)
-- ARGV[1]  only scores below this ('' for all)    ARGV[2], ARGV[3]  only what comes after this score and member ('' for all)
-- ARGV[4]  entries at most of each
--
-- answers  member, score, member, score ... index after index

-- Lua compares strings by the server's locale; the indexes compare bytes.
local function less(a, b)
  for i = 1, #b do
    local x, y = string.byte(a, i) or -1, string.byte(b, i)
    if x ~= y then
      return x < y
    end
  end
  return false
end

-- Where the page begins.
local function first(index)
  local start = 0
  if ARGV[1] ~= '' then
    start = redis.call('ZCOUNT', index, ARGV[1], '+inf')
  end
  if ARGV[2] == '' then
    return start
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
  return math.max(low, start)
end

local found = {}
for i = 1, #KEYS do
  local start = first(KEYS[i])
  local page = redis.call('ZREVRANGE', KEYS[i], start, start + tonumber(ARGV[4]) - 1, 'WITHSCORES')
  for j = 1, #page do
    found[#found + 1] = page[j]
  end
end
return found
