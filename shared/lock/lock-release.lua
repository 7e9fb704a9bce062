#!lua flags=allow-oom
--[[
lock-release: gives up my named lock.

  KEYS  1 lease
  ARGV  1 nonce
  reply 1 released   0 not mine any more

By the nonce alone, so that a lock can be given up whose token never arrived.
]]
local held = redis.call('GET', KEYS[1])
if not held or string.match(held, ':(%x+)$') ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
return 1
