#!lua flags=allow-oom
--[[
heartbeat: says that a worker lives, and asks who else does.

  KEYS  1 live workers (sorted set)
  ARGV  1 worker id   2 forget workers silent for this many ms
  reply {redis time in ms, worker, last heartbeat in ms, worker, last heartbeat in ms, …}

Scored by Redis' own time: no worker's clock is trusted.
]]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
local reply = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
table.insert(reply, 1, now)
return reply
