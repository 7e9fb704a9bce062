--[[
read-user: one document and the time at which it was read. Writes nothing.

  KEYS  1 document
  reply {document or false, Redis time in ms}

The clock is that of the server which holds the document: the one by which its partition is folded.
]]
local time = redis.call('TIME')
return {redis.call('GET', KEYS[1]), tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)}
