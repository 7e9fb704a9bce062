#!lua flags=allow-oom
--[[
lock-acquire: takes a named lock if nobody holds it.

  KEYS  1 lease   2 fence
  ARGV  1 owner   2 nonce of this attempt to get the lock (hexadecimal)   3 TTL in ms
  reply {1, fencing token}                            taken
        {0, remaining TTL of the present holder in ms}  not taken

Safe to send again: a lease with this nonce is the one that an earlier call took whose reply was lost; its TTL begins
anew, its token stays.
]]
local held = redis.call('GET', KEYS[1])
if held then
  local token, nonce = string.match(held, ':(%d+):(%x+)$')
  if nonce ~= ARGV[2] then
    return {0, redis.call('PTTL', KEYS[1])}
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return {1, tonumber(token)}
end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. token .. ':' .. ARGV[2], 'PX', ARGV[3])
return {1, token}
