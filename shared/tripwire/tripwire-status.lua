--[[
tripwire-status: how a rule's tripwire stands. Writes nothing.

  KEYS  1 wire (hash, see consumer/tripwire/reserve.lua)   2 reserved (sorted set)
  ARGV  1 window in ms
  reply {now in ms, users in the window, era, lag in ms,
         tripped at in ms, users at the trip, known users at the trip}   the last three are empty while armed
]]
local wire, reserved = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local stored = redis.call('HMGET', wire, 'era', 'lag_ms', 'tripped_at', 'affected', 'population')
local users = redis.call('ZCOUNT', reserved, '(' .. string.format('%.17g', now - tonumber(ARGV[1])), '+inf')
return {now, users, stored[1] or '', stored[2] or '0', stored[3] or '', stored[4] or '', stored[5] or ''}
