-- request: store a part of a reconciliation, with a sweep that carries it out and, with the last part, its head.
-- KEYS: 1 prefix of reconciliations (<this>:<id> is a head, <this>:<id>:parts its chunks), 2 their ids by when,
--       3 how many intents each has ('' is their sum), 4 events, 5 ready sweeps, 6 payloads of sweeps
-- ARGV: 1 id, 2 seconds it is kept, 3 bound on reconciliations, 4 bound on their intents, 5 bound on ready sweeps,
--       6 intents in this part, 7 head or '', 8 event, 9 wake message, 10 job id or '', 11 payload, 12 traceparent;
--       then per chunk: number, json
-- Returns: 1 stored, 0 its head was there already, -1 too many sweeps are ready.
-- Bound: 64 chunks, 64 reconciliations forgotten (the next call goes on).
-- Not allowed when memory is full: it is new work.
local id, kept = ARGV[1], tonumber(ARGV[2])
local head = KEYS[1] .. ':' .. id
local parts = head .. ':parts'
if redis.call('EXISTS', head) == 1 then return 0 end
if redis.call('LLEN', KEYS[5]) >= tonumber(ARGV[5]) then return -1 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local now_ms = string.format('%.0f', now)

-- First write. Chunks are named by their numbers, so that a part that is sent again replaces itself.
for n = 13, #ARGV, 2 do redis.call('HSET', parts, ARGV[n], ARGV[n + 1]) end
redis.call('EXPIRE', parts, kept)
redis.call('ZADD', KEYS[2], 'NX', now_ms, id)
redis.call('HINCRBY', KEYS[3], id, ARGV[6])
local sum = redis.call('HINCRBY', KEYS[3], '', ARGV[6])
if ARGV[10] ~= '' then
  -- As in enqueue.lua.
  local payload = '{"at":' .. now_ms .. ',"tp":"' .. ARGV[12] .. '",' .. string.sub(ARGV[11], 2)
  if redis.call('HSETNX', KEYS[6], ARGV[10], payload) == 1 then
    redis.call('RPUSH', KEYS[5], ARGV[10])
    redis.call('PUBLISH', 'tu:wake', ARGV[9])
  end
end
if ARGV[7] ~= '' then
  redis.call('SET', head, ARGV[7], 'EX', kept)
  redis.call('XADD', KEYS[4], '0-*', 'e', ARGV[8])
end

for _ = 1, 64 do
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
  if oldest[1] == id then break end
  local over = redis.call('ZCARD', KEYS[2]) > tonumber(ARGV[3]) or sum > tonumber(ARGV[4])
  if not over and tonumber(oldest[2]) > now - kept * 1000 then break end
  redis.call('UNLINK', KEYS[1] .. ':' .. oldest[1], KEYS[1] .. ':' .. oldest[1] .. ':parts')
  redis.call('ZREM', KEYS[2], oldest[1])
  local n = redis.call('HGET', KEYS[3], oldest[1]) or '0'
  redis.call('HDEL', KEYS[3], oldest[1])
  sum = redis.call('HINCRBY', KEYS[3], '', 0 - n)
end
return 1
