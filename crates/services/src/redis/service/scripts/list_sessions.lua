-- KEYS: ids by end, ids by start. ARGV: most. Answers the time and the ids, newest first.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
end
return {now, redis.call('ZREVRANGE', KEYS[2], 0, ARGV[1] - 1)}
