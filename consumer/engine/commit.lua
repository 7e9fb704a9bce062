#!lua flags=allow-oom
--[[
commit: makes everything that folding a step changed take effect, or nothing.

  KEYS  1 head   2 lease
  ARGV  1 lease value   2 seq as I know it   3 position   4 inside (entry:messages or empty)   5 at in ms   6 messages folded
        7 cautious until (entry id or empty)   8 id bookkeeping or empty for unchanged
        9 number of documents taken for absent, then their keys
        then commands, each: number of words, then the words. Two are our own:
            COMPACT <key>                                       rewrites a string without slack
            REPLY <key> <body> <ttl ms> <channel> <reply id>    stores a reply, and publishes it for who listens
  reply OK       applied
        ALREADY  this very commit was applied before (its reply was lost); nothing done now
        PRESENT  a document that was taken for absent is there; nothing done
        FENCED   the lease is not mine; nothing done
        STALE    the head is not where I think; nothing done
        DIRTY    an earlier commit failed half-way; nothing done

Redis does not roll back a script. `dirty` is set by the first write and cleared by the last, so a command that
fails in between stops the partition instead of being half-forgotten.

allow-oom: a commit must go through above maxmemory, because it is what lets the stream be trimmed; producers are
refused meanwhile.
]]
--<fence>
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 'FENCED'
end
--</fence>
local head = redis.call('HMGET', KEYS[1], 'seq', 'dirty')
local seq, expected = tonumber(head[1] or 0), tonumber(ARGV[2])
--<seq>
if seq == expected + 1 then
  return 'ALREADY'
end
if seq ~= expected then
  return 'STALE'
end
--</seq>
if head[2] == '1' then
  return 'DIRTY'
end
local absent = tonumber(ARGV[9])
if absent > 0 and redis.call('EXISTS', unpack(ARGV, 10, 9 + absent)) > 0 then
  return 'PRESENT'
end
redis.call('HSET', KEYS[1], 'dirty', 1)
local i, last = 10 + absent, #ARGV
while i <= last do
  local n = tonumber(ARGV[i])
  if ARGV[i + 1] == 'COMPACT' then
    redis.call('SET', ARGV[i + 2], redis.call('GET', ARGV[i + 2]))
  elseif ARGV[i + 1] == 'REPLY' then
    redis.call('SET', ARGV[i + 2], ARGV[i + 3], 'PX', ARGV[i + 4])
    redis.call('PUBLISH', ARGV[i + 5], ARGV[i + 6] .. ' ' .. ARGV[i + 3])
  else
    redis.call(unpack(ARGV, i + 1, i + n))
  end
  i = i + n + 1
end
if ARGV[8] ~= '' then
  redis.call('HSET', KEYS[1], 'ids', ARGV[8])
end
redis.call('HINCRBY', KEYS[1], 'folded', ARGV[6])
redis.call('HSET', KEYS[1], 'position', ARGV[3], 'inside', ARGV[4], 'seq', seq + 1, 'at', ARGV[5],
  'takeovers', 0, 'cautious', ARGV[7], 'dirty', 0)
return 'OK'
