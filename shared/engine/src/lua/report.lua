#!lua flags=allow-oom
-- (allow-oom: a worker must learn that it is asked to leave also when memory is full)
-- report: keep what a worker says of itself, and tell it whether it is asked to leave. Nothing is kept of one that is not
-- registered (declared dead and not aware of it yet): nobody would forget it.
-- KEYS: 1 reports, 2 drains, 3 workers
-- ARGV: incarnation, report
-- Returns: 1 if it is asked to leave.
-- Bound: one field.
if not redis.call('ZSCORE', KEYS[3], ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return redis.call('HEXISTS', KEYS[2], ARGV[1])
