--[[
append: adds record batches to a partition's stream, in order, as long as there is room for the next one whole.

  KEYS  1 stream   2 appended (counter)   3 head   4 bytes (counter)   5 sinks
  ARGV  1 record batch version   2 backlog bound in messages (0: none)
        3 archive bound in bytes (0: none; -1: the topic is not archived, nothing is counted)
        4 name of the archive   5.. the batches, each: number of messages, JSON array of the messages
  reply {batches appended}                          all of them
        {batches appended, backlog, 'backlog'}      the next one would be too many messages that no worker has folded
        {batches appended, bytes, 'archive'}        the next one would be too much that the archive does not have

The backlog is what was ever appended less what was ever folded, and likewise for the archive; all the counters go
with the data, so FLUSHALL empties them together. Refused by Redis itself (OOM) above maxmemory, as any write is.
]]
--<include shared/append/append-entry.lua>
local head = redis.call('HMGET', KEYS[3], 'folded', 'position')
local backlog = math.max(0, tonumber(redis.call('GET', KEYS[2]) or 0) - tonumber(head[1] or 0))
local bound, bytesBound = tonumber(ARGV[2]), tonumber(ARGV[3])
local waiting = 0
if bytesBound > 0 then
  local archived = tonumber(redis.call('HGET', KEYS[5], ARGV[4] .. '.bytes') or 0)
  waiting = math.max(0, tonumber(redis.call('GET', KEYS[4]) or 0) - archived)
end
local batches, messages, bytes = 0, 0, 0
local full, reason
for i = 5, #ARGV, 2 do
  local count, size = tonumber(ARGV[i]), #ARGV[i + 1]
  if bound > 0 and backlog + messages + count > bound then
    full, reason = backlog + messages, 'backlog'
    break
  end
  if bytesBound > 0 and waiting + bytes + size > bytesBound then
    full, reason = waiting + bytes, 'archive'
    break
  end
  append_entry(KEYS[1], head[2], ARGV[1], ARGV[i], ARGV[i + 1])
  batches, messages, bytes = batches + 1, messages + count, bytes + size
end
if batches > 0 then
  redis.call('INCRBY', KEYS[2], messages)
  if bytesBound >= 0 then redis.call('INCRBY', KEYS[4], bytes) end
end
if full then
  return {batches, full, reason}
end
return {batches}
