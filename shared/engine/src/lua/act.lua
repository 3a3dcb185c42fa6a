#!lua flags=allow-oom
-- (allow-oom: this ends or moves work, which is how memory becomes free again; only new work is refused when it is full)
-- act: move jobs of one queue that are where the caller saw them; leaves an audit event if it moved any.
-- KEYS: 1 events, 2 active, 3 data, 4 meta prefix, 5 dead, 6 scheduled, 7 troubled
-- ARGV: action (retry, discard, front), state (dead, scheduled, ready), event with "count":-1, wake message; then the ids
-- Returns: how many jobs moved.
-- Bound: 256 jobs; and where they are ready, 2,000,000 elements of the list walked (both checked by the caller).
local action, state = ARGV[1], ARGV[2]
local count = 0

-- Takes the job out of its place; false if it is not there.
local function taken(id)
  if state == 'dead' then return redis.call('ZREM', KEYS[5], id) == 1 end
  if state == 'scheduled' then return redis.call('ZREM', KEYS[6], id) == 1 end
  -- From the back, where acts on all that match find them. Nothing is left in its place: what is counted and looked at
  -- are jobs. The list is made of short nodes, so that what is behind need not move up.
  return redis.call('LREM', KEYS[2], -1, id) == 1
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
if count > 0 then
  local event = string.gsub(ARGV[3], '"count":%-1', '"count":' .. count)
  redis.call('XADD', KEYS[1], '0-*', 'e', event)
  redis.call('PUBLISH', 'tu:wake', ARGV[4])
end
return count
