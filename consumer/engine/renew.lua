#!lua flags=allow-oom
--[[
renew: prolongs my lease.

  KEYS  1 lease
  ARGV  1 lease value   2 TTL in ms
  reply 1 renewed   0 not mine any more
]]
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
