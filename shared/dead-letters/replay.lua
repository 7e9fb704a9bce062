--[[
replay: takes one dead letter and appends its message again, as a record batch of one.

  KEYS  1 dead (stream)   2 stream   3 appended (counter)   4 head   5 bytes (counter)
  ARGV  1 id of the dead letter   2 record batch version   3 message (JSON), as it is to be appended
        4 message (JSON), as the caller read it   5 1 where the topic is archived (its bytes are counted)
  reply 1   done
        0   there is no such dead letter
        -1  the dead letter holds another message than the caller read: nothing done

The letter leaves and its message arrives in one step: a replay sent twice appends once. The backlog bound does not
apply: a dead letter was accepted long ago.
]]
--<include shared/append/append-entry.lua>
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #found == 0 then
  return 0
end
local fields = found[1][2]
local message = false
for i = 1, #fields, 2 do
  if fields[i] == 'm' then message = fields[i + 1] end
end
if message ~= ARGV[4] then
  return -1
end
local messages = '[' .. ARGV[3] .. ']'
append_entry(KEYS[2], redis.call('HGET', KEYS[4], 'position'), ARGV[2], 1, messages)
if ARGV[5] == '1' then redis.call('INCRBY', KEYS[5], #messages) end
redis.call('INCRBY', KEYS[3], 1)
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
