-- enqueue: claim each id, store the payload, push or schedule, wake.
-- KEYS: per queue used: active, scheduled, data
-- ARGV: wake message; then per job: queue number (from 0), id, payload, due second or '', traceparent
-- A payload of ours is kept with two fields in front: when it was enqueued and for which trace. Any other is kept as it is.
-- Returns: how many ids were new.
-- Bound: 256 jobs (checked by the caller).
local time = redis.call('TIME')
local now_ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local new, ready = 0, false

for i = 2, #ARGV, 5 do
  local base = tonumber(ARGV[i]) * 3
  local id, due = ARGV[i + 1], ARGV[i + 3]
  -- First write. An id that exists in any state still has its payload, so HSETNX is the claim (E8).
  local payload = ARGV[i + 2]
  if string.sub(payload, 1, 5) == '{"v":' then
    payload = '{"at":' .. now_ms .. ',"tp":"' .. ARGV[i + 4] .. '",' .. string.sub(payload, 2)
  end
  if redis.call('HSETNX', KEYS[base + 3], id, payload) == 1 then
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
