-- KEYS: lock, fence. ARGV: id, milliseconds.
-- Answers 1, the fencing number, the time; or 0 and how long the holder has left.
local left = redis.call('PTTL', KEYS[1])
if left ~= -2 then
  return {0, left}
end
-- The clock takes part, so that the number grows even where Redis has lost its last writes.
local clock = t[1] * 1000000 + t[2]
local fence = math.max(tonumber(redis.call('GET', KEYS[2]) or '0') + 1, clock)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], string.format('%.0f', fence))
return {1, fence, now}
