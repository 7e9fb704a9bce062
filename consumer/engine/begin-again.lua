#!lua flags=allow-oom
--[[
begin_again: writes the documents with which a partition begins that Redis has lost.

  KEYS  1 lease   2 head   3.. documents
  ARGV  1 lease value   2.. their texts
  reply 1 written   0 FENCED: the lease is not mine   -1 the partition has a past here: nothing done
]]
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if tonumber(redis.call('HGET', KEYS[2], 'seq') or 0) > 0 then
  return -1
end
for i = 3, #KEYS do
  redis.call('SETNX', KEYS[i], ARGV[i - 1])
end
return 1
