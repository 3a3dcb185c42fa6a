-- enqueue: claim each id, store payload and meta, push or schedule, wake.
-- KEYS: per queue used: active, scheduled, data, meta prefix
-- ARGV: wake message; then per job: queue number (from 0), id, payload, due second or '', traceparent
-- Returns: how many ids were new.
-- Bound: 256 jobs (checked by the caller).
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local new, ready = 0, false

for i = 2, #ARGV, 5 do
  local base = tonumber(ARGV[i]) * 4
  local id, due = ARGV[i + 1], ARGV[i + 3]
  -- First write. An id that exists in any state still has its payload, so HSETNX is the claim (E8).
  if redis.call('HSETNX', KEYS[base + 3], id, ARGV[i + 2]) == 1 then
    redis.call('HSET', KEYS[base + 4] .. ':' .. id, 'attempts', 0, 'max_attempts', 25, 'status', 'Pending',
      'traceparent', ARGV[i + 4], 'enqueued_ms', now_ms)
    if due == '' then
      redis.call('RPUSH', KEYS[base + 1], id)
      ready = true
    else
      redis.call('ZADD', KEYS[base + 2], due, id)
    end
    new = new + 1
  end
end
-- A delayed job wakes too: a worker must learn that it has a nearer timer than it knew.
if new > 0 then redis.call('PUBLISH', 'tu:wake', ARGV[1]) end
return new
