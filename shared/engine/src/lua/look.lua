#!lua flags=no-writes
-- look: what is kept of some jobs, their payloads cut.
-- KEYS: 1 data, 2 meta prefix
-- ARGV: bytes of a payload; then the ids
-- Returns: per job: its payload as far as asked for (false if there is no such job), length of the payload, attempts,
--   rescued, reason
-- Bound: 64 jobs (checked by the caller).
local out = {}
for n = 2, #ARGV do
  local id = ARGV[n]
  local payload = redis.pcall('HGET', KEYS[1], id)
  if type(payload) ~= 'string' then payload = false end
  local meta = redis.pcall('HMGET', KEYS[2] .. ':' .. id, 'attempts', 'rescued', 'reason')
  if meta.err then meta = {} end
  out[#out + 1] = payload and string.sub(payload, 1, tonumber(ARGV[1]))
  out[#out + 1] = payload and #payload or 0
  out[#out + 1] = meta[1] or ''
  out[#out + 1] = meta[2] or ''
  out[#out + 1] = meta[3] or ''
end
return out
