-- commit: end up to 64 executions, each independently of the others.
-- KEYS: 1 events, 2 due, 3 findings index, 4 approvals index, 5 where the tick waits, 6 its nudge;
--       then per queue: active, scheduled, data, meta prefix, dead, in flight of this incarnation;
--       then the documents: intents, findings, approvals, approvals of an intent
-- ARGV: number of queues, wake message, id of the tick, then per execution:
--   job id, queue number, verb, traceparent for what follows, count of states, dirties, documents, events, next jobs
--   verb D(one): states, then dirties, documents, events, next jobs as below
--        W(ait): due second;  R(etry): due second, reason;  X (dead): reason, millisecond, event
--   state: key, name, rev, json, due ms or '', 1 if it ends the run, 1 if a run is active afterwards
--   dirty: key, name
--   document: key, key of its intent, json, index (3 or 4), score, id, key of the intent's approvals or 0, 1 if open
--   event: json
--   next: queue number, id, payload, due second or ''
-- Returns per execution: 1 committed, 0 lease lost, 2 conflict, 3 malformed.
-- Bound: 64 executions, 512 entries a list (checked by the caller).
-- Validation of an execution is complete before its first write, because Lua does not roll back (E2).
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local queues = tonumber(ARGV[1])
local docs = 6 + queues * 6
local results, ready = {}, false
local types_fine = nil
local first_due, ticked = nil, false

-- Whether the shared keys have the types we write to; asked once a call.
local function sound()
  if types_fine == nil then
    types_fine = true
    for k, want in ipairs({ 'stream', 'zset', 'zset', 'zset' }) do
      local is = redis.call('TYPE', KEYS[k]).ok
      if is ~= 'none' and is ~= want then types_fine = false end
    end
    for q = 0, queues - 1 do
      for k, want in ipairs({ 'list', 'zset', 'hash' }) do
        local is = redis.call('TYPE', KEYS[6 + q * 6 + k]).ok
        if is ~= 'none' and is ~= want then types_fine = false end
      end
    end
  end
  return types_fine
end

local function key(n) return KEYS[docs + tonumber(n)] end

local i = 4
while i <= #ARGV do
  local job, queue, verb, trace = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3]
  local states, dirties, documents, events, nexts =
    tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5]), tonumber(ARGV[i + 6]), tonumber(ARGV[i + 7]), tonumber(ARGV[i + 8])
  i = i + 9
  local base = 6 + queue * 6
  local active, scheduled, data, meta, dead, inflight =
    KEYS[base + 1], KEYS[base + 2], KEYS[base + 3], KEYS[base + 4] .. ':' .. job, KEYS[base + 5], KEYS[base + 6]

  -- Validate.
  local result = 1
  if redis.call('SISMEMBER', inflight, job) == 0 then
    result = 0
  elseif not sound() then
    result = 3
  else
    for s = 0, states - 1 do
      local at = i + s * 7
      local rev = redis.pcall('HGET', key(ARGV[at]), 'r')
      if type(rev) == 'table' then
        result = 3
        break
      elseif rev ~= ARGV[at + 2] then
        result = 2
        break
      end
    end
  end

  local following = { D = states * 7 + dirties * 2 + documents * 8 + events + nexts * 4, W = 1, R = 2, X = 3 }
  local after = i + following[verb]

  if result == 1 then
    -- First write. From here on nothing is refused.
    redis.call('SREM', inflight, job)
    if verb == 'D' then
      redis.call('HDEL', data, job)
      redis.call('DEL', meta)
      for _ = 1, states do
        local k = key(ARGV[i])
        local ends = ARGV[i + 5] == '1'
        redis.call('HSET', k, 's', ARGV[i + 3], 'r', tonumber(ARGV[i + 2]) + 1, 'run', ARGV[i + 6])
        local due = ARGV[i + 4]
        if ends and redis.call('HGET', k, 'd') == '1' then
          redis.call('HDEL', k, 'd')
          due = '0'
        end
        redis.call('ZADD', KEYS[2], due == '' and '+inf' or due, ARGV[i + 1])
        if due ~= '' and (not first_due or tonumber(due) < first_due) then first_due = tonumber(due) end
        i = i + 7
      end
      for _ = 1, dirties do
        local k = key(ARGV[i])
        local run = redis.call('HGET', k, 'run')
        if run == '1' then
          redis.call('HSET', k, 'd', '1')
        elseif run then
          redis.call('ZADD', KEYS[2], 0, ARGV[i + 1])
          first_due = 0
        end
        i = i + 2
      end
      for _ = 1, documents do
        if redis.call('EXISTS', key(ARGV[i + 1])) == 1 then
          local index, id = tonumber(ARGV[i + 3]), ARGV[i + 5]
          redis.call('SET', key(ARGV[i]), ARGV[i + 2])
          redis.call('ZADD', KEYS[index], ARGV[i + 4], id)
          if ARGV[i + 6] ~= '0' then
            if ARGV[i + 7] == '1' then
              redis.call('SADD', key(ARGV[i + 6]), id)
            else
              -- Closed: its history is in the events; the document stays for 30 days.
              redis.call('SREM', key(ARGV[i + 6]), id)
              redis.call('EXPIRE', key(ARGV[i]), 2592000)
            end
          end
        end
        i = i + 8
      end
      for _ = 1, events do
        redis.call('XADD', KEYS[1], '0-*', 'e', ARGV[i])
        i = i + 1
      end
      for _ = 1, nexts do
        local b = 6 + tonumber(ARGV[i]) * 6
        local id = ARGV[i + 1]
        if redis.call('HSETNX', KEYS[b + 3], id, ARGV[i + 2]) == 1 then
          redis.call('HSET', KEYS[b + 4] .. ':' .. id, 'attempts', 0, 'max_attempts', 25, 'status', 'Pending',
            'traceparent', trace, 'enqueued_ms', now_ms)
          if ARGV[i + 3] == '' then
            redis.call('RPUSH', KEYS[b + 1], id)
          else
            redis.call('ZADD', KEYS[b + 2], ARGV[i + 3], id)
            ticked = ticked or id == ARGV[3]
          end
          ready = true
        end
        i = i + 4
      end
    elseif verb == 'X' then
      redis.call('HSET', meta, 'reason', ARGV[i], 'status', 'Killed')
      redis.call('ZADD', dead, ARGV[i + 1], job)
      redis.call('XADD', KEYS[1], '0-*', 'e', ARGV[i + 2])
    else
      if verb == 'R' then
        redis.call('HINCRBY', meta, 'attempts', 1)
        redis.call('HSET', meta, 'reason', ARGV[i + 1])
      end
      redis.call('ZADD', scheduled, ARGV[i], job)
      ready = true
    end
  end
  i = after
  results[#results + 1] = result
end
-- The tick comes no later than the intents that became due earlier here; if it is at work now, its nudge keeps that for
-- the moment when it sets its next time.
if first_due then
  local at = string.format('%.3f', first_due / 1000)
  if redis.call('ZSCORE', KEYS[5], ARGV[3]) then
    redis.call('ZADD', KEYS[5], 'XX', 'LT', at, ARGV[3])
  else
    redis.call('ZADD', KEYS[6], 'LT', at, ARGV[3])
  end
end
if ticked then
  local nudge = redis.call('ZSCORE', KEYS[6], ARGV[3])
  if nudge then
    redis.call('DEL', KEYS[6])
    redis.call('ZADD', KEYS[5], 'XX', 'LT', nudge, ARGV[3])
  end
end
if ready then redis.call('PUBLISH', 'tu:wake', ARGV[2]) end
return results
