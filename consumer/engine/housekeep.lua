--[[
housekeep: what the owner of a partition does once per heartbeat.

  KEYS  1 lease   2 stream   3 appended   4 head   5 outbox   6 dead
  ARGV  1 lease value
  reply {1, redis time in ms, seq, appended, folded, outbox length, dead letters, first entry id left or false}
        {0}   FENCED: the lease is not mine

What is folded is deleted here, not in the commit: trimming is no part of the decision. The head says what is
folded, not the owner: after a restart that lost the last second, the owner remembers more than is true.
]]
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {0}
end
local head = redis.call('HMGET', KEYS[4], 'position', 'seq', 'folded')
local position = head[1] or '0-0'
local dash = string.find(position, '-', 1, true)
-- The smallest id above the position. Concatenated as text: a Lua number would lose digits of neither part, but
-- would print large ones with an exponent.
local next = string.sub(position, 1, dash) .. string.format('%.0f', tonumber(string.sub(position, dash + 1)) + 1)
redis.call('XTRIM', KEYS[2], 'MINID', next)
local first = redis.call('XRANGE', KEYS[2], next, '+', 'COUNT', 1)
local time = redis.call('TIME')
return {
  1,
  tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000),
  tonumber(head[2] or 0),
  tonumber(redis.call('GET', KEYS[3]) or 0),
  tonumber(head[3] or 0),
  redis.call('XLEN', KEYS[5]),
  redis.call('XLEN', KEYS[6]),
  first[1] and first[1][1] or false,
}
