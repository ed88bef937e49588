-- KEYS: session. ARGV: user. Answers when it ends and all its fields; nothing if there is none of the user's.
if redis.call('HGET', KEYS[1], 'user') ~= ARGV[1] then
  return false
end
redis.call('HSET', KEYS[1], 'seen', now)
return {now + redis.call('PTTL', KEYS[1]), redis.call('HGETALL', KEYS[1])}
