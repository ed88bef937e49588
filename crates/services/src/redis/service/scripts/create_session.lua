-- KEYS: session, ids by end, ids by start. ARGV: id, user, milliseconds, most sessions, longest life, then entries.
-- Answers the time, or 0 if the user has as many as there may be.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
  redis.call('ZREM', KEYS[2], id)
  redis.call('ZREM', KEYS[3], id)
end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) then
  return 0
end
local size = 0
for i = 6, #ARGV, 2 do
  redis.call('HSET', KEYS[1], 'd:' .. ARGV[i], ARGV[i + 1])
  size = size + #ARGV[i] + #ARGV[i + 1]
end
redis.call('HSET', KEYS[1], 'user', ARGV[2], 'life', ARGV[3], 'start', now, 'seen', now, 'size', size)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[3], now, ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('PEXPIRE', KEYS[3], ARGV[5])
return now
