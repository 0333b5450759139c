-- Writes a batch of one partition, provided that the partition's record still says what the caller believes.
-- It knows no field and no key: what is compared and what is written stands in the arguments.
--
-- KEYS[1]     the partition's record (hash); KEYS[2..] every other key that is written
-- ARGV[1]     number of comparisons n
-- ARGV[2..]   n pairs: field of KEYS[1], expected text; a field that is not there counts as '0'
-- then        operations until the end, each: command, index in KEYS, number k of further arguments (k < 7000), k arguments;
--             for MSET the index is unused and the arguments are pairs: index in KEYS, value
--
-- answers     1: everything is written; {field, stored}: this field differs and nothing is written
local compared = tonumber(ARGV[1])
local fields = {}
for i = 1, compared do
  fields[i] = ARGV[2 * i]
end
local stored = redis.call('HMGET', KEYS[1], unpack(fields))
for i = 1, compared do
  local have = stored[i] or '0'
  if have ~= ARGV[2 * i + 1] then
    return {fields[i], have}
  end
end

local at, last = 2 * compared + 2, #ARGV
while at <= last do
  local command, count = ARGV[at], tonumber(ARGV[at + 2])
  if command == 'MSET' then
    local pairs = {}
    for i = at + 3, at + 2 + count, 2 do
      pairs[#pairs + 1] = KEYS[tonumber(ARGV[i])]
      pairs[#pairs + 1] = ARGV[i + 1]
    end
    redis.call(command, unpack(pairs))
  else
    redis.call(command, KEYS[tonumber(ARGV[at + 1])], unpack(ARGV, at + 3, at + 2 + count))
  end
  at = at + 3 + count
end
return 1
