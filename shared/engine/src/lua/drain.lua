-- drain: ask a worker to leave; leaves an audit event if it had not been asked.
-- KEYS: 1 reports, 2 drains, 3 events
-- ARGV: incarnation, when, event
-- Returns: 0 if no such worker has reported, 1 if it was asked, 2 if it had been asked before.
-- Bound: one field.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
if redis.call('HSETNX', KEYS[2], ARGV[1], ARGV[2]) == 0 then return 2 end
redis.call('XADD', KEYS[3], '0-*', 'e', ARGV[3])
return 1
