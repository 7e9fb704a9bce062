#!lua flags=allow-oom
--[[
housekeep: what the owner of a partition does once per heartbeat.

  KEYS  1 lease   2 stream   3 appended   4 head   5 outbox   6 dead   7 sinks   8 bytes
  ARGV  1 lease value   2 why the partition waits, or empty   3.. the sinks: name, and 1 for one that reads the stream too (an archive) or 0
  reply {1, redis time in ms, seq, appended, folded, outbox length, dead letters, first entry id left or false,
         bytes of memory that the outbox takes, about,
         messages that were counted as waiting and are not there, bytes likewise for the archive}
        {0}   FENCED: the lease is not mine

What is folded (and archived, where the topic is) and what every sink has written of the outbox is deleted here,
not in the commit: trimming is no part of the decision. The head says what is folded, not the owner: after a restart
that lost the last second, the owner remembers more than is true.

Counters stand beside the data that they count, and part from it where somebody deletes or trims a stream, or an entry says
another number of messages than it has. Where no entry is left that waits, nothing may be counted as waiting: else
producers would be refused for ever.
]]
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {0}
end
local head = redis.call('HMGET', KEYS[4], 'position', 'seq', 'folded', 'waits')
local position = head[1] or '0-0'
local function after(id)
  local ms, n = string.match(id, '(%d+)-(%d+)')
  -- As text: a Lua number prints large values with an exponent.
  return ms .. '-' .. string.format('%.0f', tonumber(n) + 1)
end
local function below(a, b)
  local aMs, aN = string.match(a, '(%d+)-(%d+)')
  local bMs, bN = string.match(b, '(%d+)-(%d+)')
  return tonumber(aMs) < tonumber(bMs) or (tonumber(aMs) == tonumber(bMs) and tonumber(aN) < tonumber(bN))
end
if (head[4] or '') ~= ARGV[2] then
  redis.call('HSET', KEYS[4], 'waits', ARGV[2])
end
local next, needed = after(position), position
local slowest
local strayBytes = 0
for i = 3, #ARGV, 2 do
  local written = redis.call('HGET', KEYS[7], ARGV[i]) or '0-0'
  if not slowest or below(written, slowest) then slowest = written end
  if ARGV[i + 1] == '1' then
    local archived = redis.call('HGET', KEYS[7], ARGV[i] .. '.stream') or '0-0'
    if below(archived, needed) then needed = archived end
    if not redis.call('XRANGE', KEYS[2], after(archived), '+', 'COUNT', 1)[1] then
      local bytes = tonumber(redis.call('GET', KEYS[8]) or 0)
      strayBytes = bytes - tonumber(redis.call('HGET', KEYS[7], ARGV[i] .. '.bytes') or 0)
      if strayBytes ~= 0 then redis.call('HSET', KEYS[7], ARGV[i] .. '.bytes', string.format('%.0f', bytes)) end
    end
  end
end
redis.call('XTRIM', KEYS[2], 'MINID', after(needed))
if slowest then
  redis.call('XTRIM', KEYS[5], 'MINID', after(slowest))
end
local first = redis.call('XRANGE', KEYS[2], next, '+', 'COUNT', 1)
local appended, folded = tonumber(redis.call('GET', KEYS[3]) or 0), tonumber(head[3] or 0)
local stray = 0
if not first[1] and appended ~= folded then
  stray, appended = appended - folded, folded
  redis.call('SET', KEYS[3], string.format('%.0f', folded))
end
local time = redis.call('TIME')
return {
  1,
  tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000),
  tonumber(head[2] or 0),
  appended,
  folded,
  redis.call('XLEN', KEYS[5]),
  redis.call('XLEN', KEYS[6]),
  first[1] and first[1][1] or false,
  -- Optional: without the right to ask, the bound in bytes does not hold, the one in entries does.
  tonumber(redis.pcall('MEMORY', 'USAGE', KEYS[5])) or 0,
  stray,
  strayBytes,
}
