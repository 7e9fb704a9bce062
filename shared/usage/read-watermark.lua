--[[
read-watermark: how far a partition has come, at one moment. Writes nothing.

  KEYS  1 head   2 appended (counter)
  reply {now in ms (the server's clock), time of the last input folded in ms, messages appended, messages folded}
]]
local time = redis.call('TIME')
local head = redis.call('HMGET', KEYS[1], 'at', 'folded')
return {
  tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000),
  tonumber(head[1] or 0),
  tonumber(redis.call('GET', KEYS[2]) or 0),
  tonumber(head[2] or 0)
}
