--[[
tripwire-clear-window: forgets the users reserved up to a time, because a rollback has lifted them. A tripped wire
stays tripped.

  KEYS  1 reserved (sorted set, see consumer/tripwire/reserve.lua)
  ARGV  1 time in ms, included
  reply number of users forgotten
]]
return redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
