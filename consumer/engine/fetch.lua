#!lua flags=allow-oom
--[[
fetch: reads what comes after `from`, if the lease is mine.

  KEYS  1 stream   2 lease
  ARGV  1 lease value   2 group   3 consumer   4 from: read after this entry
        5 messages wanted   6 bytes wanted   7 entries per read
  reply {1, redis time in ms, {id, messages, id, messages, …}}   may be empty
        {0}                                                     FENCED: the lease is not mine

An entry as we write it (v 1 or 2, n, m) is sent as its id and its messages: two values to read instead of eight, a
tenth of a worker's time where entries are small. Any other entry is sent as '!' and its id, and its fields as JSON.

The group is set to `from` every time, so that a fetch whose reply was lost, or one that a dead connection still
delivers, can hide nothing: the reader says where it stands. NOACK: what was folded is the head's position, there
is no pending list. A missing stream or group is made again on the way.
]]
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return {0}
end
local set = redis.pcall('XGROUP', 'SETID', KEYS[1], ARGV[2], ARGV[4])
if set.err then
  redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[2], ARGV[4], 'MKSTREAM')
end
local wanted, bytes, chunk = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local entries, n = {}, 0
repeat
  local reply = redis.call('XREADGROUP', 'GROUP', ARGV[2], ARGV[3], 'COUNT', chunk, 'NOACK', 'STREAMS', KEYS[1], '>')
  local read = reply and reply[1] and reply[1][2] or {}
  for i = 1, #read do
    local fields = read[i][2]
    if #fields == 6 and fields[1] == 'v' and (fields[2] == '1' or fields[2] == '2') and fields[3] == 'n' and fields[5] == 'm' then
      entries[n + 1] = read[i][1]
      entries[n + 2] = fields[6]
    else
      entries[n + 1] = '!' .. read[i][1]
      entries[n + 2] = cjson.encode(fields)
    end
    wanted = wanted - (tonumber(fields[4]) or 1)
    bytes = bytes - #entries[n + 2]
    n = n + 2
  end
until #read < chunk or wanted <= 0 or bytes <= 0
local time = redis.call('TIME')
return {1, tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), entries}
