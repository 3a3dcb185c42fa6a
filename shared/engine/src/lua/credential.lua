#!lua flags=allow-oom
-- (allow-oom: a key must be revocable when memory is full; there are few)
-- credential: store an API key, new or changed, if nobody else changed it meanwhile; leaves an audit event.
-- KEYS: 1 keys by id, 2 when each was used last, 3 events
-- ARGV: id, the key as it was seen ('' if it is new), the key as it shall be, event, how many keys there may be,
--       ids of keys to be forgotten (up to 64)
-- Returns: 1; 0 if it is not as it was seen (or the id of a new one is taken); -1 if there are too many.
-- Bound: 64 ids.
local seen = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if seen ~= ARGV[2] then return 0 end
if seen == '' and redis.call('HLEN', KEYS[1]) - (#ARGV - 5) >= tonumber(ARGV[5]) then return -1 end
-- First write.
for n = 6, #ARGV do
  redis.call('HDEL', KEYS[1], ARGV[n])
  redis.call('HDEL', KEYS[2], ARGV[n])
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('XADD', KEYS[3], '0-*', 'e', ARGV[4])
return 1
