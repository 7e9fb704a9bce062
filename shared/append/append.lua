--[[
append: adds one record batch to a partition's stream, if the backlog has room for all of it.

  KEYS  1 stream   2 appended (counter)   3 head
  ARGV  1 record batch version   2 number of messages   3 JSON array of the messages
        4 backlog bound in messages (0: none)
  reply {entry id, backlog before}       appended
        {false,    backlog before}       refused, nothing written

The backlog is what was ever appended less what was ever folded; both counters go with the data, so FLUSHALL
empties them together. Refused by Redis itself (OOM) above maxmemory, as any write is.
]]
local appended = tonumber(redis.call('GET', KEYS[2]) or 0)
local folded = tonumber(redis.call('HGET', KEYS[3], 'folded') or 0)
local backlog = appended - folded
if backlog < 0 then backlog = 0 end
local count = tonumber(ARGV[2])
local bound = tonumber(ARGV[4])
if bound > 0 and backlog + count > bound then
  return {false, backlog}
end
local id = redis.call('XADD', KEYS[1], '*', 'v', ARGV[1], 'n', ARGV[2], 'm', ARGV[3])
redis.call('INCRBY', KEYS[2], ARGV[2])
return {id, backlog}
