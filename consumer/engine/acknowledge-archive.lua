#!lua flags=allow-oom
--[[
acknowledge_archive: the archive has written the outbox, and the messages of the stream that it judges, up to here.

  KEYS  1 lease   2 sinks   3 stream   4 appended (counter)   5 bytes (counter)   6 head   7 dead
  ARGV  1 lease value   2 name of the archive   3 outbox entry before   4 last outbox entry written
        5 stream entry up to which all is written   6 bytes of messages written
        7 record batch version   8 message that tells the fold (JSON array of one), or empty
        9.. rows that Postgres refused, each: message (JSON), error, when (ms)
  reply 1   noted
        0   FENCED: the lease is not mine
        -1  noted already (its reply was lost), nothing done now
        -2  the archive is not where the caller thinks (Redis has lost an acknowledgement), nothing done

The positions, the bytes that no longer wait, the dead letters and the message to the fold take effect together. The
positions come last: where a command fails (a key of another type) the batch comes again, and nothing of it is lost.

allow-oom: what is archived is memory to be freed.
]]
--<include shared/append/append-entry.lua>
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local position = redis.call('HGET', KEYS[2], ARGV[2]) or '0-0'
if position ~= ARGV[3] then
  return position == ARGV[4] and -1 or -2
end
for i = 9, #ARGV, 3 do
  redis.call('XADD', KEYS[7], '*', 'm', ARGV[i], 'error', ARGV[i + 1], 'attempts', 1, 'at', ARGV[i + 2], 'kind', 'row')
end
if ARGV[8] ~= '' then
  append_entry(KEYS[3], redis.call('HGET', KEYS[6], 'position'), ARGV[7], 1, ARGV[8])
  redis.call('INCRBY', KEYS[4], 1)
  redis.call('INCRBY', KEYS[5], #ARGV[8])
end
redis.call('HINCRBY', KEYS[2], ARGV[2] .. '.bytes', ARGV[6])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[4], ARGV[2] .. '.stream', ARGV[5])
return 1
