--[[
append: adds one record batch to a partition's stream, if the backlog has room for all of it.

  KEYS  1 stream   2 appended (counter)   3 head
  ARGV  1 record batch version   2 number of messages   3 JSON array of the messages
        4 backlog bound in messages (0: none)
  reply {entry id, backlog before}       appended
        {false,    backlog before}       refused, nothing written

An id is never at or below the head's position, where no worker would look: after a restart that lost the last
second, or a failover to a clock that lags, XADD might make one.

The backlog is what was ever appended less what was ever folded; both counters go with the data, so FLUSHALL
empties them together. Refused by Redis itself (OOM) above maxmemory, as any write is.
]]
local appended = tonumber(redis.call('GET', KEYS[2]) or 0)
local head = redis.call('HMGET', KEYS[3], 'folded', 'position')
local folded = tonumber(head[1] or 0)
local backlog = appended - folded
if backlog < 0 then backlog = 0 end
local count = tonumber(ARGV[2])
local bound = tonumber(ARGV[4])
if bound > 0 and backlog + count > bound then
  return {false, backlog}
end
local id = redis.call('XADD', KEYS[1], '*', 'v', ARGV[1], 'n', ARGV[2], 'm', ARGV[3])
if head[2] then
  local ms, n = string.match(id, '(%d+)-(%d+)')
  local headMs, headN = string.match(head[2], '(%d+)-(%d+)')
  ms, n, headN = tonumber(ms), tonumber(n), tonumber(headN)
  if ms < tonumber(headMs) or (ms == tonumber(headMs) and n <= headN) then
    redis.call('XDEL', KEYS[1], id)
    id = redis.call('XADD', KEYS[1], headMs .. '-' .. string.format('%.0f', headN + 1),
      'v', ARGV[1], 'n', ARGV[2], 'm', ARGV[3])
  end
end
redis.call('INCRBY', KEYS[2], ARGV[2])
return {id, backlog}
