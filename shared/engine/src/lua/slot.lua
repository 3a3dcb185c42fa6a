#!lua flags=allow-oom
-- (allow-oom: without it no job of a plane would end, and no memory become free)
-- slot: takes one of the slots for calls under way.
-- KEYS: 1 slots
-- ARGV: 1 slot, 2 how many there are for this lane, 3 milliseconds for which it is taken
-- Returns: 1 if it is taken now.
-- Bound: as many slots as there are, those that have ended are forgotten.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[3]))
return 1
