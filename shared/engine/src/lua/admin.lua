-- admin: one operator action on one queue; leaves an audit event if it changed anything.
-- KEYS: 1 paused, 2 events, 3 active, 4 data, 5 meta prefix, 6 dead, 7 troubled
-- ARGV: action (pause, resume, retry, discard), queue name, job id or '' for the oldest 256, event with "count":-1,
--       wake message
-- Returns: how many jobs changed (pause and resume: 1 or 0).
-- Bound: 256 jobs.
local action, queue, job = ARGV[1], ARGV[2], ARGV[3]
local count = 0

if action == 'pause' then
  count = redis.call('SADD', KEYS[1], queue)
elseif action == 'resume' then
  count = redis.call('SREM', KEYS[1], queue)
else
  local ids = job ~= '' and { job } or redis.call('ZRANGE', KEYS[6], 0, 255)
  for _, id in ipairs(ids) do
    if redis.call('ZREM', KEYS[6], id) == 1 then
      -- Its past is forgotten with its death.
      redis.call('DEL', KEYS[5] .. ':' .. id)
      redis.call('SREM', KEYS[7], id)
      if action == 'retry' then
        redis.call('RPUSH', KEYS[3], id)
      else
        redis.call('HDEL', KEYS[4], id)
      end
      count = count + 1
    end
  end
end
if count > 0 then
  local event = string.gsub(ARGV[4], '"count":%-1', '"count":' .. count)
  redis.call('XADD', KEYS[2], '0-*', 'e', event)
  redis.call('PUBLISH', 'tu:wake', ARGV[5])
end
return count
