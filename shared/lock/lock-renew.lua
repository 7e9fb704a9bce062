#!lua flags=allow-oom
--[[
lock-renew: prolongs my named lock.

  KEYS  1 lease
  ARGV  1 nonce   2 TTL in ms
  reply 1 renewed   0 not mine any more
]]
local held = redis.call('GET', KEYS[1])
if not held or string.match(held, ':(%x+)$') ~= ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
