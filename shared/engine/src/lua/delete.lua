-- delete: forget one intent with its findings and approvals.
-- KEYS: 1 events, 2 due, 3 findings index, 4 approvals index, 5 intent, 6 approvals of the intent, 7 names, 8 census;
--       then its possible findings
-- ARGV: name, event, approval prefix, the expected version or ''; then the ids of its possible findings
-- Returns: its generation, -1 if there is none, or -2 if its version is not the expected one.
-- Bound: one intent, a finding per drift kind, and at most 256 open approvals.
local old = redis.call('HMGET', KEYS[5], 'g', 'c', 'v')
local generation = old[1]
if not generation then return -1 end
if ARGV[4] ~= '' and tonumber(old[3] or 0) ~= tonumber(ARGV[4]) then return -2 end

local function uncount(row)
  if not row or row == '' then return end
  -- A count that somebody else has spoilt keeps nothing from being deleted.
  local n = redis.pcall('HINCRBY', KEYS[8], row, -1)
  if type(n) == 'number' and n <= 0 then redis.call('HDEL', KEYS[8], row) end
end

-- First write.
uncount(old[2])
redis.call('DEL', KEYS[5])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[7], ARGV[1])
for n = 5, #ARGV do
  redis.call('DEL', KEYS[n + 4])
  redis.call('ZREM', KEYS[3], ARGV[n])
  local row = redis.pcall('HGET', KEYS[8] .. ':findings', ARGV[n])
  if type(row) == 'string' then
    uncount(row)
    redis.call('HDEL', KEYS[8] .. ':findings', ARGV[n])
  end
end
for _, id in ipairs(redis.call('SRANDMEMBER', KEYS[6], 256)) do
  redis.call('DEL', ARGV[3] .. id)
  redis.call('ZREM', KEYS[4], id)
end
redis.call('DEL', KEYS[6])
redis.call('XADD', KEYS[1], '0-*', 'e', ARGV[2])
return tonumber(generation)
