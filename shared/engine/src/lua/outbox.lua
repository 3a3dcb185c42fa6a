#!lua flags=allow-oom
-- (allow-oom: it frees memory)
-- outbox: notices that were taken leave the outbox of their partition; their ids are remembered as told.
-- KEYS: 1 outbox, 2 its order, 3 ids that were told
-- ARGV: milliseconds they are remembered, how many at most; then the ids
-- Returns: how many left.
-- Bound: 256 ids (checked by the caller).
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local left = 0
for n = 3, #ARGV do
  if redis.call('HDEL', KEYS[1], ARGV[n]) == 1 then
    redis.call('ZADD', KEYS[3], string.format('%.0f', now_ms), ARGV[n])
    left = left + 1
  end
  redis.call('ZREM', KEYS[2], ARGV[n])
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', string.format('(%.0f', now_ms - tonumber(ARGV[1])))
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[2]))
return left
