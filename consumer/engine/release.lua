#!lua flags=allow-oom
--[[
release: gives up my lease.

  KEYS  1 lease   2 head
  ARGV  1 lease value   2 1 if the owner ends well: nothing of it is under way and nothing failed
  reply 1 released   0 not mine any more

After a good end the count of owners that died begins anew.
]]
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
if ARGV[2] == '1' then
  redis.call('HSET', KEYS[2], 'takeovers', 0)
end
return 1
