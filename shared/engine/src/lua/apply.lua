-- apply: store manifests; a new or changed one is due at once, through the dirty mark if a run is active.
-- KEYS: 1 events, 2 due, 3 names, 4 where the tick waits, 5 its nudge, 6 census; then per intent: its hash
-- ARGV: wake message, id of the tick; then per intent: name, manifest, digest of target and desired, what it counts as or '' if it
--       is not reconciled, event with "change":"" and "generation":-1
-- Returns per intent: {0 unchanged | 1 created | 2 changed, generation}
-- Bound: 256 intents (checked by the caller).
local time = redis.call('TIME')
local now_ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local out, woke, counts = {}, false, {}
for n = 1, #KEYS - 6 do
  local k, i = KEYS[n + 6], 3 + (n - 1) * 5
  local name, manifest, digest, row, event = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local old = redis.call('HMGET', k, 'm', 'x', 'g', 'run', 'c')
  local before = old[5] or ''
  if before ~= row then
    if before ~= '' then counts[before] = (counts[before] or 0) - 1 end
    if row ~= '' then counts[row] = (counts[row] or 0) + 1 end
    -- Stored by a version that did not count.
    if old[1] == manifest then redis.call('HSET', k, 'c', row) end
  end
  if old[1] == manifest then
    out[n] = { 0, tonumber(old[3]) }
  else
    local generation = tonumber(old[3] or 0)
    local change = old[1] and 2 or 1
    if old[2] ~= digest then generation = generation + 1 end
    redis.call('HSET', k, 'm', manifest, 'x', digest, 'g', generation, 'c', row)
    if change == 1 then
      -- When it was born makes its runs others than those of an intent of the same name that was deleted.
      redis.call('HSET', k, 's', '{"born":' .. now_ms .. '}', 'r', 0, 'run', '0')
      redis.call('ZADD', KEYS[3], 0, name)
    end
    if old[4] == '1' then
      redis.call('HSET', k, 'd', '1')
    else
      -- A sweep that has read the old manifest must not begin a run with it: its commit becomes a conflict.
      if change == 2 then redis.call('HINCRBY', k, 'r', 1) end
      redis.call('ZADD', KEYS[2], row ~= '' and 0 or '+inf', name)
      woke = true
    end
    event = string.gsub(event, '"generation":%-1', '"generation":' .. generation)
    event = string.gsub(event, '"change":""', change == 1 and '"change":"created"' or '"change":"changed"')
    redis.call('XADD', KEYS[1], '0-*', 'e', event)
    out[n] = { change, generation }
  end
end
for row, change in pairs(counts) do
  -- A count that somebody else has spoilt keeps nothing from being stored.
  local n = change ~= 0 and redis.pcall('HINCRBY', KEYS[6], row, change)
  if type(n) == 'number' and n <= 0 then redis.call('HDEL', KEYS[6], row) end
end
if woke then
  -- See commit.lua.
  local waits = redis.call('ZSCORE', KEYS[4], ARGV[2])
  redis.call('ZADD', waits and KEYS[4] or KEYS[5], 'LT', 0, ARGV[2])
  redis.call('PUBLISH', 'tu:wake', ARGV[1])
end
return out
