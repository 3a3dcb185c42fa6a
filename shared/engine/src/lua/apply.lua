-- apply: store manifests on a condition; a new or changed one is due at once, through the dirty mark if a run is active.
-- KEYS: 1 events, 2 due, 3 names, 4 where the tick waits, 5 its nudge, 6 census; then per intent: its hash
-- ARGV: wake message, id of the tick; then per intent: name, manifest, digest of target and desired, what it counts as or '' if it
--       is not reconciled, event with "change":"" and "generation":-1, what is expected ('', 'absent' or a version), its owners
--       or '=' if they stay
-- Returns per intent: {0 unchanged | 1 created | 2 changed | 3 not as expected, generation, version}
-- Bound: 256 intents (checked by the caller).
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local out, woke, counts = {}, false, {}
for n = 1, #KEYS - 6 do
  local k, i = KEYS[n + 6], 3 + (n - 1) * 7
  local name, manifest, digest, row, event = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local expected, owners = ARGV[i + 5], ARGV[i + 6]
  local old = redis.call('HMGET', k, 'm', 'x', 'g', 'run', 'c', 'v', 'o')
  local before, version, owned = old[5] or '', tonumber(old[6] or 0), old[7] or ''
  local same = old[1] == manifest
  if owners == '=' then owners = owned end
  local fits
  if expected == '' then fits = same or owned == '' or ARGV[i + 6] ~= '='
  elseif expected == 'absent' then fits = not old[1]
  else fits = old[1] and version == tonumber(expected) end
  if not fits then
    out[n] = { 3, tonumber(old[3] or 0), version }
  else
    if before ~= row then
      if before ~= '' then counts[before] = (counts[before] or 0) - 1 end
      if row ~= '' then counts[row] = (counts[row] or 0) + 1 end
      -- Stored by a version that did not count.
      if same then redis.call('HSET', k, 'c', row) end
    end
    if same and owners == owned then
      out[n] = { 0, tonumber(old[3]), version }
    else
      local generation = tonumber(old[3] or 0)
      -- The time keeps the versions of an intent that is deleted and applied anew apart.
      version = math.max(version + 1, now_ms)
      redis.call('HSET', k, 'v', string.format('%.0f', version))
      if owners == '' then redis.call('HDEL', k, 'o') else redis.call('HSET', k, 'o', owners) end
      local change = 'owners'
      if same then
        out[n] = { 0, generation, version }
      else
        local created = not old[1]
        change = created and 'created' or 'changed'
        if old[2] ~= digest then generation = generation + 1 end
        redis.call('HSET', k, 'm', manifest, 'x', digest, 'g', generation, 'c', row)
        if created then
          -- When it was born makes its runs others than those of an intent of the same name that was deleted.
          redis.call('HSET', k, 's', string.format('{"born":%.0f}', now_ms), 'r', 0, 'run', '0')
          redis.call('ZADD', KEYS[3], 0, name)
        end
        if old[4] == '1' then
          redis.call('HSET', k, 'd', '1')
        else
          -- A sweep that has read the old manifest must not begin a run with it: its commit becomes a conflict.
          if not created then redis.call('HINCRBY', k, 'r', 1) end
          redis.call('ZADD', KEYS[2], row ~= '' and 0 or '+inf', name)
          woke = true
        end
        out[n] = { created and 1 or 2, generation, version }
      end
      event = string.gsub(event, '"generation":%-1', '"generation":' .. generation)
      event = string.gsub(event, '"change":""', '"change":"' .. change .. '"')
      redis.call('XADD', KEYS[1], '0-*', 'e', event)
    end
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
