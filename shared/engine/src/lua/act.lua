#!lua flags=allow-oom
-- (allow-oom: this ends or moves work, which is how memory becomes free again; only new work is refused when it is full)
-- act: move jobs of one queue that are where the caller saw them; leaves an audit event if it moved any.
-- KEYS: 1 events, 2 active, 3 data, 4 meta prefix, 5 dead, 6 scheduled, 7 troubled
-- ARGV: action (retry, discard, front), state (dead, scheduled, ready), event with "count":-1, wake message; then the ids
-- Returns: how many jobs moved.
-- Bound: 256 jobs; and where they are ready, 2,000,000 elements of the list walked (both checked by the caller).
local action, state = ARGV[1], ARGV[2]
local count, holes = 0, false

-- Takes the job out of its place; false if it is not there.
local function taken(id)
  if state == 'dead' then return redis.call('ZREM', KEYS[5], id) == 1 end
  if state == 'scheduled' then return redis.call('ZREM', KEYS[6], id) == 1 end
  local at = redis.call('LPOS', KEYS[2], id, 'RANK', -1)
  if not at then return false end
  -- An id that nobody has stands in its place, so that nothing has to be moved up; a lease passes over it.
  redis.call('LSET', KEYS[2], at, '')
  holes = true
  return true
end

-- To the front: the last first, so that they end in the order given.
local from, to, step = 5, #ARGV, 1
if action == 'front' then from, to, step = #ARGV, 5, -1 end
for n = from, to, step do
  local id = ARGV[n]
  if taken(id) then
    if state == 'dead' or action == 'discard' then
      -- Its past is forgotten with its death.
      redis.call('DEL', KEYS[4] .. ':' .. id)
      redis.call('SREM', KEYS[7], id)
    end
    if action == 'discard' then
      redis.call('HDEL', KEYS[3], id)
    elseif action == 'front' then
      redis.call('LPUSH', KEYS[2], id)
    else
      redis.call('RPUSH', KEYS[2], id)
    end
    count = count + 1
  end
end
if holes and redis.call('LLEN', KEYS[2]) <= 100000 then redis.call('LREM', KEYS[2], 0, '') end
if count > 0 then
  local event = string.gsub(ARGV[3], '"count":%-1', '"count":' .. count)
  redis.call('XADD', KEYS[1], '0-*', 'e', event)
  redis.call('PUBLISH', 'tu:wake', ARGV[4])
end
return count
