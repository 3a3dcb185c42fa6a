#!lua flags=allow-oom
-- (allow-oom: this ends or moves work, which is how memory becomes free again; only new work is refused when it is full)
-- lease: promote due jobs, pop up to n from each queue in the order given, mark them in flight.
-- KEYS: 1 workers, 2 paused; then per queue: active, scheduled, data, meta prefix, in flight of this incarnation, troubled
-- ARGV: incarnation, now in seconds; then per queue: its name, n
-- Returns: false if the incarnation is not registered; else {next due second or '', 1 if more is ready,
--          then per job: queue number, id, payload, attempts, rescued}
-- Bound: n <= 256 a queue, promotion <= 256 a queue, ids looked at <= 1000 + n a queue.
-- Ids that nobody has (somebody deleted their payloads) are passed over and gone; where there are more of them than the
-- bound, the next due second is now, so that whoever leases goes on at once and jobs behind them do not wait.
-- A job that was taken back from two dead workers is suspected of having killed them. A call hands out one suspect at
-- most; the others wait a second, so that those that only died with the guilty one are not put away with it (E6).
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return false end
local now = ARGV[2]
local out, more, next_due = { '', 0 }, 0, nil
local suspects = 0

for i = 3, #ARGV, 2 do
  local queue = (i - 3) / 2
  local base = 2 + queue * 6
  local active, scheduled, data, meta, inflight, troubled =
    KEYS[base + 1], KEYS[base + 2], KEYS[base + 3], KEYS[base + 4], KEYS[base + 5], KEYS[base + 6]
  local n = tonumber(ARGV[i + 1])
  if redis.call('SISMEMBER', KEYS[2], ARGV[i]) == 0 then
    local first = redis.call('ZRANGE', scheduled, 0, 0, 'WITHSCORES')
    if first[2] and tonumber(first[2]) <= tonumber(now) then
      local due = redis.call('ZRANGEBYSCORE', scheduled, '-inf', now, 'LIMIT', 0, 256)
      redis.call('RPUSH', active, unpack(due))
      redis.call('ZREM', scheduled, unpack(due))
      first = redis.call('ZRANGE', scheduled, 0, 0, 'WITHSCORES')
    end
    if first[2] and (not next_due or tonumber(first[2]) < next_due) then next_due = tonumber(first[2]) end

    local left, looked = n, 0
    while left > 0 and looked < 1000 do
      local asked = left
      local ids = redis.call('LPOP', active, asked) or {}
      if #ids == 0 then break end
      looked = looked + #ids
      redis.call('SADD', inflight, unpack(ids))
      local payloads = redis.call('HMGET', data, unpack(ids))
      -- Most jobs have neither been retried nor rescued; only those that have are looked up.
      local past = redis.call('SMISMEMBER', troubled, unpack(ids))
      for k, id in ipairs(ids) do
        if payloads[k] then
          left = left - 1
          local attempts, rescued = '0', '0'
          if past[k] == 1 then
            local m = redis.call('HMGET', meta .. ':' .. id, 'attempts', 'rescued')
            attempts, rescued = m[1] or '0', m[2] or '0'
          end
          if tonumber(rescued) >= 2 then suspects = suspects + 1 end
          if tonumber(rescued) >= 2 and suspects > 1 then
            local later = tonumber(now) + 1
            redis.call('SREM', inflight, id)
            redis.call('ZADD', scheduled, string.format('%.3f', later), id)
            if not next_due or later < next_due then next_due = later end
          else
            out[#out + 1] = queue
            out[#out + 1] = id
            out[#out + 1] = payloads[k]
            out[#out + 1] = attempts
            out[#out + 1] = rescued
          end
        else
          redis.call('SREM', inflight, id)
        end
      end
      if #ids < asked then break end
    end
    if (left == 0 or looked >= 1000) and redis.call('LLEN', active) > 0 then
      more = 1
      if left > 0 then next_due = math.min(next_due or math.huge, tonumber(now)) end
    end
  end
end
out[1] = next_due and string.format('%.3f', next_due) or ''
out[2] = more
return out
