-- request_claim: claim an idempotency key, or learn what became of it.
-- KEYS: 1 the key's own hash, 2 all keys by when
-- ARGV: 1 fingerprint of the request, 2 token of who claims, 3 milliseconds the claim lasts, 4 the key's name
-- Returns: {'yours'}, {'running'}, {'other'} or {'answer', status, headers, body}.
-- Bound: one key.
local old = redis.call('HMGET', KEYS[1], 'f', 's', 'h', 'b')
if old[1] then
  if old[1] ~= ARGV[1] then return { 'other' } end
  if old[2] then return { 'answer', old[2], old[3], old[4] } end
  return { 'running' }
end
local time = redis.call('TIME')
-- First write.
redis.call('HSET', KEYS[1], 'f', ARGV[1], 't', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[2], string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), ARGV[4])
return { 'yours' }
