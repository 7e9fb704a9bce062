--[[
read-watermark: how far a partition has come, at one moment. Writes nothing.

  KEYS  1 head   2 appended (counter)   3 stream
  reply {now in ms (the server's clock), time of the last input folded in ms, messages appended, messages folded,
         id of the first entry that is not folded whole; false where no message waits, or none is found}

The entry itself is read for its id alone: Redis has no other way to ask for it. It never leaves the server.
]]
local time = redis.call('TIME')
local head = redis.call('HMGET', KEYS[1], 'at', 'folded', 'position')
local appended, folded = tonumber(redis.call('GET', KEYS[2]) or 0), tonumber(head[2] or 0)
local first
if folded < appended then
  first = redis.call('XRANGE', KEYS[3], head[3] and '(' .. head[3] or '-', '+', 'COUNT', 1)[1]
end
return {
  tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000),
  tonumber(head[1] or 0),
  appended,
  folded,
  first and first[1] or false
}
