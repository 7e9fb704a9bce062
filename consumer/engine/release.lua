--[[
release: gives up my lease, cleanly: nothing of mine is under way.

  KEYS  1 lease   2 head
  ARGV  1 lease value
  reply 1 released   0 not mine any more

A clean release is no takeover: the count of owners that died begins anew.
]]
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[2], 'takeovers', 0)
return 1
