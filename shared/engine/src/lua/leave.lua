#!lua flags=allow-oom
-- (allow-oom: this ends or moves work, which is how memory becomes free again; only new work is refused when it is full)
-- leave: a worker goes for good; what it still holds returns to the front of its queues, uncounted.
-- KEYS: 1 workers; then per queue: active, in flight of this incarnation
-- ARGV: incarnation, wake message
-- Returns: 1 when nothing is left, 0 when it must be called again.
-- Bound: 256 jobs a call.
local left = 256
for base = 1, #KEYS - 1, 2 do
  if left > 0 then
    local ids = redis.call('SPOP', KEYS[base + 2], left)
    for _, id in ipairs(ids) do redis.call('LPUSH', KEYS[base + 1], id) end
    left = left - #ids
  end
end
redis.call('PUBLISH', 'tu:wake', ARGV[2])
if left > 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return 1
end
return 0
