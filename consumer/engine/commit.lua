#!lua flags=allow-oom
--[[
commit: makes everything that folding a step changed take effect, or nothing.

  KEYS  1 head   2 lease   3.. every key that the commands name; first those of documents taken for absent
  ARGV  1 lease value   2 seq as I know it   3 position   4 inside (entry:messages or empty)   5 at in ms   6 messages folded
        7 cautious until (entry id or empty)   8 id bookkeeping or empty for unchanged
        9 number of documents taken for absent   10 1 to finish a commit that failed half-way (`rest` in the head), else 0
        11.. commands, each: number of words, then the words: name, number of its key in KEYS, arguments. Four are our own:
            MSET <first key> <text> <text> …                    for keys side by side in KEYS
            UNLINK <first key> <number of keys>                 the same
            COMPACT <key>                                       rewrites a string without slack
            REPLY <key> <body> <ttl ms> <channel> <reply id>    stores a reply, and publishes it for who listens
  reply OK         applied; `OK <n>`: Redis refused to publish n of its replies, which are stored all the same
        ALREADY    this very commit was applied before (its reply was lost); nothing done now
        PRESENT    a document that was taken for absent is there; nothing done
        FENCED     the lease is not mine; nothing done
        STALE      the head is not where I think; nothing done
        DIRTY      an earlier commit failed half-way; nothing done
        HALFWAY <error>  a command failed, the ones before it took effect; `rest` in the head has all that is missing

Redis does not roll back a script. `dirty` is set by the first write and cleared by the last. A command that fails in
between changes nothing itself, so what is left to do is exact: it and those after it. They are kept in the head, and
whoever gets the lease next begins by finishing them.

Every key is declared: Redis Cluster refuses the whole script while one of them is on its way to another node.

allow-oom: a commit must go through above maxmemory, because it is what lets the stream be trimmed; producers are
refused meanwhile.
]]
--<fence>
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 'FENCED'
end
--</fence>
local head = redis.call('HMGET', KEYS[1], 'seq', 'dirty', 'folded')
local seq, expected = tonumber(head[1] or 0), tonumber(ARGV[2])
--<seq>
if seq == expected + 1 then
  return 'ALREADY'
end
if seq ~= expected then
  return 'STALE'
end
--</seq>
local dirty, finishes = head[2] == '1', ARGV[10] == '1'
if dirty ~= finishes then
  return dirty and 'DIRTY' or 'STALE'
end
local absent = tonumber(ARGV[9])
if absent > 0 and redis.call('EXISTS', unpack(KEYS, 3, 2 + absent)) > 0 then
  return 'PRESENT'
end
local folded = tonumber(head[3] or 0) + tonumber(ARGV[6])

local i, last, unpublished = 11, #ARGV, 0
local function apply()
  while i <= last do
    local n, name, first = tonumber(ARGV[i]), ARGV[i + 1], tonumber(ARGV[i + 2])
    local key = KEYS[first]
    if name == 'MSET' then
      local texts = {}
      for j = 1, n - 2 do
        texts[2 * j - 1] = KEYS[first + j - 1]
        texts[2 * j] = ARGV[i + 2 + j]
      end
      redis.call('MSET', unpack(texts))
    elseif name == 'UNLINK' then
      redis.call('UNLINK', unpack(KEYS, first, first + ARGV[i + 3] - 1))
    elseif name == 'COMPACT' then
      -- Optional: what is not there has no slack.
      local text = redis.call('GET', key)
      if text then redis.call('SET', key, text) end
    elseif name == 'REPLY' then
      redis.call('SET', key, ARGV[i + 3], 'PX', ARGV[i + 4])
      -- Optional: a reply that nobody hears of is read from its key. A user without the channel must not stop a partition.
      local heard = redis.pcall('PUBLISH', ARGV[i + 5], ARGV[i + 6] .. ' ' .. ARGV[i + 3])
      if type(heard) == 'table' then unpublished = unpublished + 1 end
    else
      redis.call(name, key, unpack(ARGV, i + 3, i + n))
    end
    i = i + n + 1
  end
end

redis.call('HSET', KEYS[1], 'dirty', 1)
local whole, why = pcall(apply)
if not whole then
  why = type(why) == 'table' and why.err or tostring(why)
  redis.call('HSET', KEYS[1], 'error', why)
  -- Where the first that was left has failed again, the head says so already.
  if not finishes or i > 11 then
    redis.call('HSET', KEYS[1], 'rest', cjson.encode({ v = 1, keys = KEYS, args = ARGV, next = i }))
  end
  return 'HALFWAY ' .. why
end
if finishes then
  redis.call('HSET', KEYS[1], 'rest', '', 'error', '')
end
if ARGV[8] ~= '' then
  redis.call('HSET', KEYS[1], 'ids', ARGV[8])
end
redis.call('HSET', KEYS[1], 'folded', string.format('%.0f', folded), 'position', ARGV[3], 'inside', ARGV[4],
  'seq', seq + 1, 'at', ARGV[5], 'takeovers', 0, 'cautious', ARGV[7], 'dirty', 0)
return unpublished == 0 and 'OK' or 'OK ' .. unpublished
