--[[
tripwire-rearm: begins a new era of a rule's tripwire: empty window, not tripped.

  KEYS  1 wire (hash, see consumer/tripwire/reserve.lua)   2 reserved (sorted set)
  ARGV  1 control id of the re-arm: the new era
  reply 1 re-armed   0 the wire is in this era, or in a newer one, already: nothing changed
]]
local wire, reserved, control = KEYS[1], KEYS[2], ARGV[1]
local stored = redis.call('HMGET', wire, 'era', 'tripped_at')

local a, b = string.match(control, '^(%d+)-(%d+)$')
local c, d = string.match(stored[1] or '', '^(%d+)-(%d+)$')
a, b, c, d = tonumber(a or 0), tonumber(b or 0), tonumber(c or 0), tonumber(d or 0)
if a < c or (a == c and b <= d) then return 0 end

redis.call('DEL', wire, reserved)
redis.call('HSET', wire, 'era', control, 'previous_tripped', stored[2] and '1' or '0')
return 1
