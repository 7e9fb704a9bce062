--[[
housekeep: what the owner of a partition does once per heartbeat.

  KEYS  1 lease   2 stream   3 appended   4 head   5 outbox   6 dead
  ARGV  1 lease value   2 trim the stream below this entry id
  reply {1, redis time in ms, appended, folded, outbox length, dead letters, first entry id left or false}
        {0}   FENCED: the lease is not mine

What is folded and needed by no sink is deleted here, not in the commit: trimming is no part of the decision.
]]
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {0}
end
redis.call('XTRIM', KEYS[2], 'MINID', ARGV[2])
local first = redis.call('XRANGE', KEYS[2], ARGV[2], '+', 'COUNT', 1)
local time = redis.call('TIME')
return {
  1,
  tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000),
  tonumber(redis.call('GET', KEYS[3]) or 0),
  tonumber(redis.call('HGET', KEYS[4], 'folded') or 0),
  redis.call('XLEN', KEYS[5]),
  redis.call('XLEN', KEYS[6]),
  first[1] and first[1][1] or false,
}
