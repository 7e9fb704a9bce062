--[[
read-documents: the first of many documents, up to a number of bytes. Writes nothing.

  KEYS  documents
  ARGV  1 bytes
  reply the documents in order, false for one that is not there, up to and with the one that reaches the bytes

One MGET would have to be told how many documents to read before anybody knows how long they are.
]]
local bytesMax = tonumber(ARGV[1])
local documents, bytes = {}, 0
for i = 1, #KEYS do
  local text = redis.call('GET', KEYS[i])
  documents[i] = text
  if text then
    bytes = bytes + #text
    if bytes >= bytesMax then break end
  end
end
return documents
