-- KEYS: session, ids by end, ids by start. ARGV: id, user. Answers whether there was one of the user's.
if redis.call('HGET', KEYS[1], 'user') ~= ARGV[2] then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return 1
