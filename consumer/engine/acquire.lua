#!lua flags=allow-oom
--[[
acquire: takes the lease of a partition if nobody holds it.

  KEYS  1 lease   2 fence   3 head   4 timers   5 dead
  ARGV  1 worker id   2 nonce   3 lease TTL in ms   4 seed for the id hash, used if the head has none   5.. fields of the head to return
  reply {1, lease value, values of the head's fields, earliest due time or false, dead letters}   taken
        {0, remaining TTL of the present holder in ms}                                         not taken

`takeovers` counts owners since the last commit or clean release: a message that kills its worker is known by it.
The nonce makes the lease unmistakable even if the fencing token should regress (a failover that lost the INCR).
]]
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {0, redis.call('PTTL', KEYS[1])}
end
-- What may fail (a key of another type) comes first: a lease that nobody knows of keeps a partition from everybody.
local first = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
local letters = redis.call('XLEN', KEYS[5])
local token = redis.call('INCR', KEYS[2])
local lease = ARGV[1] .. ':' .. token .. ':' .. ARGV[2]
redis.call('SET', KEYS[1], lease, 'PX', ARGV[3])
redis.call('HINCRBY', KEYS[3], 'takeovers', 1)
redis.call('HSETNX', KEYS[3], 'seed', ARGV[4])
return {1, lease, redis.call('HMGET', KEYS[3], unpack(ARGV, 5)), first[2] or false, letters}
