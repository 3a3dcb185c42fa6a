#!lua flags=allow-oom
-- (allow-oom: this ends or moves work, which is how memory becomes free again; only new work is refused when it is full)
-- beat: heartbeat of one worker; then take back the jobs of dead workers, and forget what they said of themselves.
-- KEYS: 1 workers (<this>:reports and <this>:drains, in partition 0, are by worker), 2 events; then per queue: active, meta prefix, dead, in flight prefix, troubled
-- ARGV: incarnation, 1 if it has beaten here before, milliseconds of silence that mean death, rescues that wear a
--       job out, our time in milliseconds, our time as text, wake message, actor; then the name of each queue
-- Returns: {1 if we were declared dead, jobs taken back, jobs worn out, run id of this Redis process}
-- Bound: 256 jobs, 16 workers.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local me = ARGV[1]
local declared_dead = 0
local before = redis.call('ZSCORE', KEYS[1], me)
if ARGV[2] == '1' and not before then
  declared_dead = 1
else
  redis.call('ZADD', KEYS[1], now_ms, me)
end

local rescued, worn, left = 0, 0, 256
local function take_back(gone)
  for i = 9, #ARGV do
    local base = 2 + (i - 9) * 5
    if left > 0 then
      local ids = redis.call('SPOP', KEYS[base + 4] .. ':' .. gone, left)
      for _, id in ipairs(ids) do
        local meta = KEYS[base + 2] .. ':' .. id
        local times = redis.pcall('HINCRBY', meta, 'rescued', 1)
        -- Somebody else's value: nobody can count it, so it is put away.
        if type(times) ~= 'number' then times = tonumber(ARGV[4]) end
        redis.call('SADD', KEYS[base + 5], id)
        if times >= tonumber(ARGV[4]) then
          local reason = 'its worker died ' .. times .. ' times while running it'
          redis.pcall('HSET', meta, 'reason', reason)
          redis.call('ZADD', KEYS[base + 3], ARGV[5], id)
          local h = redis.sha1hex('worn out ' .. id .. ' ' .. now_ms)
          redis.call('XADD', KEYS[2], '0-*', 'e', cjson.encode({
            event_id = 'evt_' .. string.sub(h, 1, 20), schema = 1, event_type = 'JOB_DEAD', tenant = '',
            correlation_id = string.sub(h, 1, 8) .. '-' .. string.sub(h, 9, 12) .. '-8' .. string.sub(h, 14, 16)
              .. '-8' .. string.sub(h, 18, 20) .. '-' .. string.sub(h, 21, 32),
            causation_id = id, actor = ARGV[8], created_at = ARGV[6],
            event_data = { job = id, queue = ARGV[i], reason = reason },
          }))
          worn = worn + 1
        else
          redis.call('LPUSH', KEYS[base + 1], id)
          rescued = rescued + 1
        end
      end
      left = left - #ids
    end
  end
  if left > 0 then
    redis.call('ZREM', KEYS[1], gone)
    redis.call('HDEL', KEYS[1] .. ':reports', gone)
    redis.call('HDEL', KEYS[1] .. ':drains', gone)
  end
end

-- Who was silent itself (Redis was away, the host slept) cannot tell who else is dead, and waits for its next beat.
local silence = tonumber(ARGV[3])
if not before or now_ms - tonumber(before) < silence then
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_ms - silence, 'LIMIT', 0, 16)) do
    if left > 0 then take_back(gone) end
  end
end
if rescued > 0 then redis.call('PUBLISH', 'tu:wake', ARGV[7]) end
return { declared_dead, rescued, worn, string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or '' }
