#!lua flags=allow-oom
-- flow: add to what passed through the queues in the current measurement.
-- KEYS: 1 prefix of the measurements
-- ARGV: seconds of a measurement, seconds it is kept; then pairs of a field and a number
-- Bound: 256 pairs (checked by the caller).
local key = KEYS[1] .. ':' .. math.floor(redis.call('TIME')[1] / ARGV[1])
for n = 3, #ARGV, 2 do redis.call('HINCRBY', key, ARGV[n], ARGV[n + 1]) end
redis.call('EXPIRE', key, ARGV[2])
return 1
