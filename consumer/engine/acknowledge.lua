#!lua flags=allow-oom
--[[
acknowledge: a sink has written the outbox up to an entry.

  KEYS  1 lease   2 sinks
  ARGV  1 lease value   2 sink name   3 last entry written
  reply 1 noted   0 FENCED: the lease is not mine

allow-oom: what a sink has written is memory to be freed. Trimming waits for the slowest sink (housekeep).
]]
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
return 1
