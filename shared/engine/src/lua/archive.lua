-- archive: hold a partition's archive lock, or trim what is safely archived.
-- KEYS: 1 lock, 2 events
-- ARGV: 'hold', holder (archive id and process), milliseconds | 'trim', holder, id of the first entry that stays
-- Returns: hold: {1, last seq ever given, first seq there or 0}, {0, 0, 0} if another holds it; trim: entries removed, -1 if
--          another holds the lock.
-- Bound: the caller trims at most 10,000 entries a call.
local held = redis.call('GET', KEYS[1])
if ARGV[1] == 'trim' then
  if held ~= ARGV[2] then return -1 end
  return redis.call('XTRIM', KEYS[2], 'MINID', '=', ARGV[3])
end
if held and held ~= ARGV[2] then return { 0, 0, 0 } end
local last, first = 0, 0
if redis.call('EXISTS', KEYS[2]) == 1 then
  local about = redis.call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then last = tonumber(string.match(about[i + 1], '%-(%d+)$')) end
  end
  local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  if oldest then first = tonumber(string.match(oldest[1], '%-(%d+)$')) end
end
-- First write.
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return { 1, last, first }
