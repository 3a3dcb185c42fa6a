#!lua flags=allow-oom
-- (allow-oom: without it no job of a plane would end, and no memory become free)
-- draw: one process asks for calls of one connection, for its callers of one lane. The rules are those of
-- `budgets/flow.rs`; a test holds one against the other.
-- KEYS: 1 state of the connection, 2 who waits
-- ARGV: 1 real milliseconds in a second of the product's time, 2 share of a window that the lane may be ahead,
--       3 milliseconds for a probe, 4 share recovered in a minute, 5 process, 6 its callers that wait ('' if none),
--       7 checks, 8 turns, 9 name of checks, 10 name of turns, 11 its callers that wait once this is granted ('' if none);
--       then per bucket: name, window, interval at the full rate, span of a grant (all milliseconds), need, want
-- Returns: {'go', 1 if a probe, 1 if wary, then per bucket: calls, interval} or
--          {'wait', milliseconds, 'budget', bucket} or {'wait', milliseconds, 'asked' | 'open' | 'probing', last failure}
-- Bound: 16 buckets; 64 processes that wait.
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local second = tonumber(ARGV[1])
local state = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do state[all[i]] = all[i + 1] end
local function get(field, default) return tonumber(state[field] or '') or default end
local set = {}
local function put(field, value)
  state[field] = string.format('%.17g', value)
  set[#set + 1] = field
  set[#set + 1] = state[field]
end
local function count(name, n)
  local minute, current, previous = math.floor(now / (60 * second)), get('current:' .. name, 0), nil
  local before = get('minute:' .. name, 0)
  if minute ~= before then
    put('previous:' .. name, minute == before + 1 and current or 0)
    put('minute:' .. name, minute)
    current = 0
  end
  put('current:' .. name, current + n)
end

-- First write.
if tonumber(ARGV[7]) > 0 then count(ARGV[9], tonumber(ARGV[7])) end
if tonumber(ARGV[8]) > 0 then count(ARGV[10], tonumber(ARGV[8])) end
local function finish(answer, waiting)
  if waiting == '' then
    redis.call('HDEL', KEYS[2], ARGV[5])
  else
    -- Killed processes leave theirs behind; whoever waits says so again within the second.
    if redis.call('HLEN', KEYS[2]) > 64 then redis.call('DEL', KEYS[2]) end
    redis.call('HSET', KEYS[2], ARGV[5], string.format('%.0f', now) .. ' ' .. waiting)
    redis.call('EXPIRE', KEYS[2], 60)
  end
  if #set > 0 then
    redis.call('HSET', KEYS[1], unpack(set))
    redis.call('EXPIRE', KEYS[1], 86400)
  end
  return answer
end

local function wait(ms, why, what) return finish({ 'wait', string.format('%.17g', ms), why, what }, ARGV[6]) end
local not_before, opened, probe = get('not_before', 0), get('opened', 0), 0
if not_before > now then return wait(not_before - now, 'asked', '') end
if opened > 0 then
  local open_until, probe_until = get('open_until', 0), get('probe_until', 0)
  local failure = state['failure'] or ''
  if open_until > now then return wait(open_until - now, 'open', failure) end
  local soon = tonumber(ARGV[3]) / 30
  if probe_until > now then return wait(math.min(probe_until - now, soon), 'probing', failure) end
  probe = 1
end

local longest, used_up = 0, nil
for i = 12, #ARGV, 6 do
  local ahead = get('next:' .. ARGV[i], 0) - now
  -- The clock of this Redis may have been set back, or another Redis taken over.
  local most = 10 * tonumber(ARGV[i + 1]) + tonumber(ARGV[i + 2]) * tonumber(ARGV[i + 4])
  if ahead > most then
    put('next:' .. ARGV[i], now)
    ahead = 0
  end
  local late = ahead - tonumber(ARGV[2]) * tonumber(ARGV[i + 1])
  if late > longest then longest, used_up = late, ARGV[i] end
end
if used_up then return wait(longest, 'budget', used_up) end

if probe == 1 then put('probe_until', now + tonumber(ARGV[3])) end
local wary = (get('failures', 0) > 0 or opened > 0 or get('silent', 0) > 0) and 1 or 0
local answer = { 'go', probe, wary }
for i = 12, #ARGV, 6 do
  local name, need, want = ARGV[i], tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5])
  local since = math.max(now - get('cut_at:' .. name, 0), 0)
  local share = math.min(get('share:' .. name, 1) + since / (60 * second) * tonumber(ARGV[4]), 1)
  local interval = tonumber(ARGV[i + 2]) / share
  local calls = need
  if probe == 0 then
    local most = math.max(math.floor(tonumber(ARGV[i + 3]) / interval), 1)
    calls = math.max(math.min(want, math.max(most, need)), need)
  end
  put('next:' .. name, math.max(get('next:' .. name, 0), now) + calls * interval)
  count(name, calls)
  answer[#answer + 1] = calls
  answer[#answer + 1] = string.format('%.17g', interval)
end
return finish(answer, ARGV[11])
