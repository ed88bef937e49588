-- KEYS: lock. ARGV: id, milliseconds. Answers the time, or 0 if it is not held.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return now
