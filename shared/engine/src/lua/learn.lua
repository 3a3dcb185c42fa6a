#!lua flags=allow-oom
-- (allow-oom: it writes a few numbers, and a plane that asks to wait must be heard)
-- learn: what an answer of a plane means for the calls that follow. The rules are those of `budgets/flow.rs` and the
-- model's `Health`; a test holds one against the other.
-- KEYS: 1 state of the connection
-- ARGV: 1 'fine' | 'failed' | 'asked' | 'crowded', 2 milliseconds told to wait ('' if not told) or how it failed,
--       3 real milliseconds in a second of the product's time, 4 failures that open the breaker, 5 first and
--       6 longest time it is open, 7 first and 8 longest wait if not told (all seconds), 9 share kept by a cut, 10 least
--       share, 11 share recovered in a minute, 12 seconds between two cuts; then names of buckets
-- Returns: {milliseconds to wait ('' if none), 1 if wary}
-- Bound: 16 buckets.
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local second = tonumber(ARGV[3])
local function get(field, default) return tonumber(redis.call('HGET', KEYS[1], field) or '') or default end
local set = {}
local function put(field, value)
  set[#set + 1] = field
  set[#set + 1] = type(value) == 'number' and string.format('%.17g', value) or value
end
local silent, failures, opened = get('silent', 0), get('failures', 0), get('opened', 0)
local not_before = get('not_before', 0)
local function well()
  failures, opened = 0, 0
  put('open_until', 0)
  put('probe_until', 0)
end
local function cut()
  for i = 13, #ARGV do
    local at = get('cut_at:' .. ARGV[i], 0)
    if now - at >= tonumber(ARGV[12]) * second then
      local share = get('share:' .. ARGV[i], 1) + math.max(now - at, 0) / (60 * second) * tonumber(ARGV[11])
      put('share:' .. ARGV[i], math.max(math.min(share, 1) * tonumber(ARGV[9]), tonumber(ARGV[10])))
      put('cut_at:' .. ARGV[i], now)
    end
  end
end

local answer = ''
if ARGV[1] == 'fine' then
  if not_before <= now then silent = 0 end
  well()
elseif ARGV[1] == 'failed' then
  failures = failures + 1
  put('failure', ARGV[2])
  local half_open = opened > 0 and get('open_until', 0) <= now
  if half_open or (opened == 0 and failures >= tonumber(ARGV[4])) then
    local open = math.min(tonumber(ARGV[5]) * 2 ^ math.min(opened, 8), tonumber(ARGV[6]))
    opened = opened + 1
    put('open_until', now + open * second)
    put('probe_until', 0)
  end
elseif ARGV[1] == 'asked' then
  local news = not_before <= now
  local wanted = now
  if ARGV[2] ~= '' then
    wanted = now + tonumber(ARGV[2])
  elseif news then
    wanted = now + math.min(tonumber(ARGV[7]) * 2 ^ math.min(silent, 8), tonumber(ARGV[8])) * second
    silent = silent + 1
  end
  not_before = math.max(not_before, wanted)
  put('not_before', not_before)
  well()
  if news then cut() end
  answer = string.format('%.17g', math.max(not_before - now, 0))
else
  cut()
end
put('silent', silent)
put('failures', failures)
put('opened', opened)
redis.call('HSET', KEYS[1], unpack(set))
redis.call('EXPIRE', KEYS[1], 86400)
return { answer, (failures > 0 or opened > 0 or silent > 0) and 1 or 0 }
