-- KEYS: session, ids by end, ids by start. ARGV: id, user, whether it starts anew, most bytes, longest life, then entries.
-- Answers 1; 0 if there is none of the user's; -1 if it would have too many bytes, and then nothing is written.
if redis.call('HGET', KEYS[1], 'user') ~= ARGV[2] then
  return 0
end
local size = tonumber(redis.call('HGET', KEYS[1], 'size'))
for i = 6, #ARGV, 2 do
  local field = 'd:' .. ARGV[i]
  if redis.call('HEXISTS', KEYS[1], field) == 1 then
    size = size - #ARGV[i] - redis.call('HSTRLEN', KEYS[1], field)
  end
  if ARGV[i + 1] ~= '' then
    size = size + #ARGV[i] + #ARGV[i + 1]
  end
end
if size > tonumber(ARGV[4]) then
  return -1
end
for i = 6, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[1], 'd:' .. ARGV[i])
  else
    redis.call('HSET', KEYS[1], 'd:' .. ARGV[i], ARGV[i + 1])
  end
end
redis.call('HSET', KEYS[1], 'seen', now, 'size', size)
if ARGV[3] == '1' then
  local life = redis.call('HGET', KEYS[1], 'life')
  redis.call('PEXPIRE', KEYS[1], life)
  redis.call('ZADD', KEYS[2], now + life, ARGV[1])
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
  redis.call('PEXPIRE', KEYS[3], ARGV[5])
end
return 1
