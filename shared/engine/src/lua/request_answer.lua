-- request_answer: leave the answer of a claim, or give the claim up.
-- KEYS: 1 the key's own hash, 2 all keys by when, 3 bytes of each answer ('' is their sum), 4 prefix of the keys' hashes
-- ARGV: 1 token of who claimed, 2 the key's name, 3 milliseconds an answer is kept, 4 bound on keys, 5 bound on bytes,
--       6 status or '' to give up, 7 headers, 8 body, 9 bytes
-- Returns: 1, or 0 if the claim is somebody else's or over.
-- Bound: 64 keys forgotten (the next call goes on).
if redis.call('HGET', KEYS[1], 't') ~= ARGV[1] then return 0 end
local function forget(name)
  redis.call('UNLINK', KEYS[4] .. ':' .. name)
  redis.call('ZREM', KEYS[2], name)
  local n = redis.call('HGET', KEYS[3], name)
  if n then
    redis.call('HDEL', KEYS[3], name)
    redis.call('HINCRBY', KEYS[3], '', 0 - n)
  end
end
if ARGV[6] == '' then
  forget(ARGV[2])
  return 1
end
-- First write. Without its token: it is nobody's to give up any more.
redis.call('HSET', KEYS[1], 's', ARGV[6], 'h', ARGV[7], 'b', ARGV[8])
redis.call('HDEL', KEYS[1], 't')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('HINCRBY', KEYS[3], '', ARGV[9] - (redis.call('HGET', KEYS[3], ARGV[2]) or 0))
redis.call('HSET', KEYS[3], ARGV[2], ARGV[9])
local time = redis.call('TIME')
local gone = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[3])
for _ = 1, 64 do
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
  if not oldest[1] or oldest[1] == ARGV[2] then break end
  local bytes = tonumber(redis.call('HGET', KEYS[3], '') or 0)
  local over = redis.call('ZCARD', KEYS[2]) > tonumber(ARGV[4]) or bytes > tonumber(ARGV[5])
  if not over and tonumber(oldest[2]) > gone then break end
  forget(oldest[1])
end
return 1
