#!lua flags=allow-oom
-- (allow-oom: it frees memory)
-- rearm: forget a trip and all places taken; leaves an audit event.
-- KEYS: 1 places of a tenant on a plane, 2 trips, 3 events
-- ARGV: tenant.plane, the trip as it was seen, event
-- Returns: 1, or 0 if that trip is not there any more.
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
-- First write.
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('UNLINK', KEYS[1])
redis.call('XADD', KEYS[3], '0-*', 'e', ARGV[3])
return 1
