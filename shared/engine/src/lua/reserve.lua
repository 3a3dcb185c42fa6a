#!lua flags=allow-oom
-- (allow-oom: one small member; without it no remediation would end)
-- reserve: take a place for one automatic attempt, or trip the blast-radius switch.
-- KEYS: 1 places of a tenant on a plane by time, 2 trips
-- ARGV: tenant.plane, member, now in milliseconds, window in milliseconds, how long a place is remembered,
--       places in the window or '', places in a minute or '', the trip as JSON for the window, for the minute
-- Returns: '' if the member has a place, else the trip as JSON.
-- Bound: the places of one window; one is taken a call.
if redis.call('ZSCORE', KEYS[1], ARGV[2]) then return '' end
local tripped = redis.call('HGET', KEYS[2], ARGV[1])
if tripped then return tripped end

-- Time never goes backwards, whatever clock the caller has.
local at = tonumber(ARGV[3])
local newest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
if newest and tonumber(newest) > at then at = tonumber(newest) end

local function full(places, window)
  if places == '' then return false end
  local since = string.format('(%.0f', at - window)
  return redis.call('ZCOUNT', KEYS[1], since, '+inf') >= tonumber(places)
end

-- First write.
for n, window in ipairs({ tonumber(ARGV[4]), 60000 }) do
  if full(ARGV[5 + n], window) then
    redis.call('HSET', KEYS[2], ARGV[1], ARGV[7 + n])
    return ARGV[7 + n]
  end
end
if ARGV[6] ~= '' or ARGV[7] ~= '' then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', at - tonumber(ARGV[5])))
  redis.call('ZADD', KEYS[1], string.format('%.0f', at), ARGV[2])
end
return ''
