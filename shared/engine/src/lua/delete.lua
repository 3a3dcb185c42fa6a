-- delete: forget one intent with its findings and approvals.
-- KEYS: 1 events, 2 due, 3 findings index, 4 approvals index, 5 intent, 6 approvals of the intent, 7 names;
--       then its possible findings
-- ARGV: name, event, approval prefix; then the ids of its possible findings
-- Returns: its generation, or -1 if there is none.
-- Bound: one intent, a finding per drift kind, and at most 256 open approvals.
local generation = redis.call('HGET', KEYS[5], 'g')
if not generation then return -1 end
redis.call('DEL', KEYS[5])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[7], ARGV[1])
for n = 4, #ARGV do
  redis.call('DEL', KEYS[n + 4])
  redis.call('ZREM', KEYS[3], ARGV[n])
end
for _, id in ipairs(redis.call('SRANDMEMBER', KEYS[6], 256)) do
  redis.call('DEL', ARGV[3] .. id)
  redis.call('ZREM', KEYS[4], id)
end
redis.call('DEL', KEYS[6])
redis.call('XADD', KEYS[1], '0-*', 'e', ARGV[2])
return tonumber(generation)
