-- admin: pause or resume one queue; leaves an audit event if that changed anything.
-- KEYS: 1 paused, 2 events
-- ARGV: action (pause, resume), queue name, event with "count":-1, wake message
-- Returns: 1 or 0.
-- Bound: one member of a set.
local count = redis.call(ARGV[1] == 'pause' and 'SADD' or 'SREM', KEYS[1], ARGV[2])
if count > 0 then
  local event = string.gsub(ARGV[3], '"count":%-1', '"count":' .. count)
  redis.call('XADD', KEYS[2], '0-*', 'e', event)
  redis.call('PUBLISH', 'tu:wake', ARGV[4])
end
return count
