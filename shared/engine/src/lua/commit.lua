#!lua flags=allow-oom
-- (allow-oom: this ends or moves work, which is how memory becomes free again; only new work is refused when it is full)
-- commit: end up to 64 executions, each independently of the others.
-- KEYS: 1 events, 2 due, 3 findings index, 4 approvals index, 5 where the tick waits, 6 its nudge;
--       then per queue: active, scheduled, data, meta prefix, dead, in flight of this incarnation, troubled;
--       then the documents: intents, findings, approvals, approvals of an intent
-- ARGV: number of queues, wake message, id of the tick, bound on an outbox, milliseconds an id is remembered as told, then
--   per execution: job id, shape, traceparent for what follows; the shape is
--   "verb queue states dirties documents events nexts notices taken", the counts of what follows:
--   verb D(one): states, then dirties, documents, events, next jobs, notices, taken as below
--        W(ait): due second, reason or '';  R(etry): due second, reason;  X (dead): reason, millisecond, event
--   state: key, name, rev, json, due ms or '', "1" if it ends the run .. "1" if a run is active afterwards
--   dirty: key, name
--   document: key, key of its intent, json, index (3 or 4), score, id, then
--     finding (3): key of the census, what it counts as or '';  approval (4): key of the intent's approvals, 1 if open
--   event: json
--   next: queue number, id, payload, due second or ''
--   notice: key of the outbox, key of the census, id, millisecond, json
--   taken: key, if there are any; then the ids
-- Returns per execution: 1 committed, 0 lease lost, 2 conflict, 3 malformed.
-- Bound: 64 executions, 512 entries a list, 1,000 ids taken (checked by the caller).
-- Lua does not roll back, so an execution is validated completely before its first write (E2). What all executions write
-- to the same keys is gathered and written by one command for many: half of the time of a call is the number of commands.
local time = redis.call('TIME')
local now_ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local queues = tonumber(ARGV[1])
local tick = ARGV[3]
local docs = 6 + queues * 7
local function key(n) return KEYS[docs + tonumber(n)] end
local function queue_key(queue, n) return KEYS[6 + queue * 7 + n] end
local ACTIVE, SCHEDULED, DATA, META, DEAD, INFLIGHT, TROUBLED = 1, 2, 3, 4, 5, 6, 7

-- Runs one command for a whole list, `width` values an element, at most 256 values at a time.
local function in_bulk(command, k, list, width)
  local step = math.floor(256 / width) * width
  for from = 1, #list, step do
    redis.call(command, k, unpack(list, from, math.min(from + step - 1, #list)))
  end
end

local function append(lists, at, value)
  local list = lists[at]
  if list then
    list[#list + 1] = value
  else
    lists[at] = { value }
  end
end

-- Whether the shared keys have the types we write to; asked once a call.
local types_fine = nil
local function sound()
  if types_fine == nil then
    types_fine = true
    for k, want in ipairs({ 'stream', 'zset', 'zset', 'zset' }) do
      local is = redis.call('TYPE', KEYS[k]).ok
      if is ~= 'none' and is ~= want then types_fine = false end
    end
    for q = 0, queues - 1 do
      for k, want in ipairs({ 'list', 'zset', 'hash' }) do
        local is = redis.call('TYPE', queue_key(q, k)).ok
        if is ~= 'none' and is ~= want then types_fine = false end
      end
    end
  end
  return types_fine
end

-- A batch holds few different shapes; each is read once.
local shapes = {}
local function shape(text)
  local s = shapes[text]
  if not s then
    local words = {}
    for word in string.gmatch(text, '%S+') do words[#words + 1] = tonumber(word) or word end
    s = { verb = words[1], queue = words[2], states = words[3], dirties = words[4], documents = words[5],
      events = words[6], nexts = words[7], notices = words[8], taken = words[9] }
    -- Where notices begin, for they are rare and looked at before the rest.
    s.telling = s.states * 6 + s.dirties * 2 + s.documents * 8 + s.events + s.nexts * 4
    local taking = s.taken > 0 and s.taken + 1 or 0
    local following = { D = s.telling + s.notices * 5 + taking, W = 2, R = 2, X = 3 }
    s.length = 3 + following[s.verb]
    shapes[text] = s
  end
  return s
end

-- The fence: who holds the job in flight, and only its first end in this call.
local asked, count = {}, 0
local i = 6
while i <= #ARGV do
  local s = shape(ARGV[i + 1])
  append(asked, s.queue, ARGV[i])
  i, count = i + s.length, count + 1
end
local held = {}
for queue, ids in pairs(asked) do
  held[queue] = {}
  local answers = redis.call('SMISMEMBER', queue_key(queue, INFLIGHT), unpack(ids))
  for n, id in ipairs(ids) do held[queue][id] = answers[n] == 1 end
end

-- Gathered per queue, written at the end.
local finished, released, forgotten, ready = {}, {}, {}, {}
local dues, woke, first_due, ticked = {}, false, nil, false

local function becomes_due(name, due)
  dues[#dues + 1] = due == '' and '+inf' or due
  dues[#dues + 1] = name
  if due ~= '' and (not first_due or tonumber(due) < first_due) then first_due = tonumber(due) end
end

-- Whether the outbox, and what is taken, have the types we write to; asked once a call.
local telling_fine = {}
local function is_or_none(k, want)
  local fine = telling_fine[k]
  if fine == nil then
    local is = redis.call('TYPE', k).ok
    fine = is == 'none' or is == want
    telling_fine[k] = fine
  end
  return fine
end
local function can_tell(s, at)
  if s.notices > 0 then
    local outbox = key(ARGV[at])
    if not (is_or_none(outbox, 'hash') and is_or_none(outbox .. ':order', 'zset') and is_or_none(outbox .. ':told', 'zset')) then
      return false
    end
  end
  return s.taken == 0 or is_or_none(key(ARGV[at + s.notices * 5]), 'zset')
end

-- What a finding counted as before, and counts as now. A count that somebody else has spoilt keeps nothing from being stored.
local census, changes = nil, {}
local function count_finding(k, id, row)
  census = k
  local of = k .. ':findings'
  local before = redis.pcall('HGET', of, id) or ''
  if type(before) == 'table' or before == row then return end
  if before ~= '' then changes[before] = (changes[before] or 0) - 1 end
  if row ~= '' then
    redis.call('HSET', of, id, row)
    changes[row] = (changes[row] or 0) + 1
  else
    redis.call('HDEL', of, id)
  end
end

-- Into the outbox, unless the id is there or was told lately, or the outbox is full.
local remembered = now_ms - tonumber(ARGV[5])
local function tell(outbox, counts, id, at, notice)
  local told = redis.call('ZSCORE', outbox .. ':told', id)
  if told and tonumber(told) >= remembered then return end
  if redis.call('HEXISTS', outbox, id) == 1 then return end
  if redis.call('HLEN', outbox) >= tonumber(ARGV[4]) then
    redis.pcall('HINCRBY', counts, 'notices_dropped', 1)
    return
  end
  redis.call('HSET', outbox, id, notice)
  redis.call('ZADD', outbox .. ':order', at, id)
end

local function validate(s, id, at)
  if not held[s.queue][id] then return 0 end
  if not sound() then return 3 end
  if s.notices + s.taken > 0 and not can_tell(s, at + s.telling) then return 3 end
  for n = 0, s.states - 1 do
    local rev = redis.pcall('HGET', key(ARGV[at + n * 6]), 'r')
    if type(rev) == 'table' then return 3 end
    if rev ~= ARGV[at + n * 6 + 2] then return 2 end
  end
  held[s.queue][id] = false
  return 1
end

local function finish(s, id, trace, i)
  for _ = 1, s.states do
    local k, flags, due = key(ARGV[i]), ARGV[i + 5], ARGV[i + 4]
    redis.call('HSET', k, 's', ARGV[i + 3], 'r', string.format('%.0f', ARGV[i + 2] + 1), 'run', string.sub(flags, 2))
    if string.sub(flags, 1, 1) == '1' and redis.call('HGET', k, 'd') == '1' then
      redis.call('HDEL', k, 'd')
      due = '0'
    end
    becomes_due(ARGV[i + 1], due)
    i = i + 6
  end
  for _ = 1, s.dirties do
    local k = key(ARGV[i])
    local run = redis.pcall('HGET', k, 'run')
    if type(run) == 'table' then
      run = false
    end
    if run == '1' then
      redis.call('HSET', k, 'd', '1')
    elseif run then
      becomes_due(ARGV[i + 1], '0')
    end
    i = i + 2
  end
  for _ = 1, s.documents do
    if redis.call('EXISTS', key(ARGV[i + 1])) == 1 then
      local doc = ARGV[i + 5]
      redis.call('SET', key(ARGV[i]), ARGV[i + 2])
      redis.call('ZADD', KEYS[tonumber(ARGV[i + 3])], ARGV[i + 4], doc)
      if ARGV[i + 3] == '3' then
        count_finding(key(ARGV[i + 6]), doc, ARGV[i + 7])
      else
        if ARGV[i + 7] == '1' then
          redis.call('SADD', key(ARGV[i + 6]), doc)
        else
          -- Closed: its history is in the events; the document stays for 30 days.
          redis.call('SREM', key(ARGV[i + 6]), doc)
          redis.call('ZREM', KEYS[tonumber(ARGV[i + 3])], doc)
          redis.call('EXPIRE', key(ARGV[i]), 2592000)
        end
      end
    end
    i = i + 8
  end
  for _ = 1, s.events do
    redis.call('XADD', KEYS[1], '0-*', 'e', ARGV[i])
    i = i + 1
  end
  -- A job may enqueue its own id again (the tick does), so it is forgotten before what follows is claimed.
  local again = false
  for n = 0, s.nexts - 1 do again = again or ARGV[i + n * 4 + 1] == id end
  if again then redis.call('HDEL', queue_key(s.queue, DATA), id) end
  for _ = 1, s.nexts do
    local queue, next_id, due = tonumber(ARGV[i]), ARGV[i + 1], ARGV[i + 3]
    -- As in enqueue.lua.
    local payload = '{"at":' .. now_ms .. ',"tp":"' .. trace .. '",' .. string.sub(ARGV[i + 2], 2)
    if redis.call('HSETNX', queue_key(queue, DATA), next_id, payload) == 1 then
      if due == '' then
        append(ready, queue, next_id)
      else
        redis.call('ZADD', queue_key(queue, SCHEDULED), due, next_id)
        ticked = ticked or next_id == tick
      end
      woke = true
    end
    i = i + 4
  end
  for _ = 1, s.notices do
    tell(key(ARGV[i]), key(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3], ARGV[i + 4])
    i = i + 5
  end
  if s.taken > 0 then
    local taken = {}
    for n = 1, s.taken do
      taken[2 * n - 1] = now_ms
      taken[2 * n] = ARGV[i + n]
    end
    in_bulk('ZADD', key(ARGV[i]), taken, 2)
  end
  if not again then append(finished, s.queue, id) end
  forgotten[#forgotten + 1] = queue_key(s.queue, META) .. ':' .. id
end

-- Ends one execution in another way than done.
local function put_aside(s, id, at)
  local meta = queue_key(s.queue, META) .. ':' .. id
  if s.verb == 'X' then
    redis.call('HSET', meta, 'reason', ARGV[at])
    redis.call('ZADD', queue_key(s.queue, DEAD), ARGV[at + 1], id)
    redis.call('XADD', KEYS[1], '0-*', 'e', ARGV[at + 2])
    return
  end
  if s.verb == 'R' then
    local attempts = tonumber(redis.call('HGET', meta, 'attempts') or 0) or 0
    redis.call('HSET', meta, 'attempts', string.format('%.0f', attempts + 1), 'reason', ARGV[at + 1])
    redis.call('SADD', queue_key(s.queue, TROUBLED), id)
  elseif ARGV[at + 1] ~= '' then
    redis.call('HSET', meta, 'reason', ARGV[at + 1])
  end
  redis.call('ZADD', queue_key(s.queue, SCHEDULED), ARGV[at], id)
  woke = true
end

local results = {}
i = 6
for n = 1, count do
  local s, id, at = shape(ARGV[i + 1]), ARGV[i], i + 3
  local result = validate(s, id, at)
  if result == 1 then
    -- First write of this execution. Should one be refused all the same (somebody else's value under a key of ours), then
    -- this execution alone is malformed and keeps its lease; the others, and what is gathered for them, go on.
    local ok
    if s.verb == 'D' then
      ok = pcall(finish, s, id, ARGV[i + 2], at)
    else
      ok = pcall(put_aside, s, id, at)
    end
    if ok then
      append(released, s.queue, id)
    else
      result = 3
    end
  end
  results[n] = result
  i = i + s.length
end

for queue, ids in pairs(released) do in_bulk('SREM', queue_key(queue, INFLIGHT), ids, 1) end
for queue, ids in pairs(finished) do
  in_bulk('HDEL', queue_key(queue, DATA), ids, 1)
  in_bulk('SREM', queue_key(queue, TROUBLED), ids, 1)
end
if #forgotten > 0 then redis.call('DEL', unpack(forgotten)) end
for queue, ids in pairs(ready) do in_bulk('RPUSH', queue_key(queue, ACTIVE), ids, 1) end
in_bulk('ZADD', KEYS[2], dues, 2)
for row, change in pairs(changes) do
  if change ~= 0 then
    local n = redis.pcall('HINCRBY', census, row, change)
    if type(n) == 'number' and n <= 0 then redis.call('HDEL', census, row) end
  end
end

-- The tick comes no later than the intents that became due earlier here; if it is at work now, its nudge keeps that for
-- the moment when it sets its next time.
if first_due then
  local at = string.format('%.3f', first_due / 1000)
  redis.call('ZADD', redis.call('ZSCORE', KEYS[5], tick) and KEYS[5] or KEYS[6], 'LT', at, tick)
end
if ticked then
  local nudge = redis.call('ZSCORE', KEYS[6], tick)
  if nudge then
    redis.call('DEL', KEYS[6])
    redis.call('ZADD', KEYS[5], 'XX', 'LT', nudge, tick)
  end
end
if woke then redis.call('PUBLISH', 'tu:wake', ARGV[2]) end
return results
