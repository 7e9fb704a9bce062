#!lua flags=allow-oom
--[[
fold_again: lets a partition go on whose commit failed half-way and left no word of what is missing.

  KEYS  1 lease   2 head
  ARGV  1 lease value
  reply 1 the step will be folded again   0 FENCED: the lease is not mine   -1 the head is not dirty: nothing done
]]
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if redis.call('HGET', KEYS[2], 'dirty') ~= '1' then
  return -1
end
redis.call('HSET', KEYS[2], 'dirty', 0)
return 1
