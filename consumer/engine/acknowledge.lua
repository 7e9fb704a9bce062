--[[
acknowledge: a sink has written the outbox up to an entry.

  KEYS  1 lease   2 sinks   3 outbox
  ARGV  1 lease value   2 sink name   3 last entry written   4 delete the outbox below this entry
  reply 1 noted   0 FENCED: the lease is not mine
]]
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('XTRIM', KEYS[3], 'MINID', ARGV[4])
return 1
