#!lua flags=allow-oom
-- (allow-oom: this ends or moves work, which is how memory becomes free again; only new work is refused when it is full)
-- give_back: leased jobs that were never started return to the front of their queues.
-- KEYS: per queue used: active, in flight of this incarnation
-- ARGV: wake message; then per job, last leased first: queue number, id
-- Bound: 256 jobs (checked by the caller).
for i = 2, #ARGV, 2 do
  local base = tonumber(ARGV[i]) * 2
  if redis.call('SREM', KEYS[base + 2], ARGV[i + 1]) == 1 then redis.call('LPUSH', KEYS[base + 1], ARGV[i + 1]) end
end
redis.call('PUBLISH', 'tu:wake', ARGV[1])
return 1
