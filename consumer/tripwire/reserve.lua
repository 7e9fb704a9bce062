--[[
reserve: asks a rule's tripwire for users that the rule is about to restrict. The model is rules/tripwire.ts.

  KEYS  1 wire (hash)   2 reserved (sorted set: user, Redis time in ms)
  ARGV  1 era in which the caller decides (control id, or empty)
        2 known users, as far as committed   3 largest share, in parts per million
        4 largest number of users (-1: no cap)   5 known users below which the wire never trips   6 window in ms
        7 earliest time of the decisions that ask, in ms
        8… users, in order
  reply {now in ms, 1 if this call tripped the wire else 0, users in the window, answers}
        answers: one character per user, 1 granted, 0 denied

  wire  era               control id of the last re-arm
        previous_tripped  1 if the era before had tripped
        tripped_at, affected, population    of the trip; absent while armed
        lag_ms            how far decisions lagged behind Redis' clock at worst, since the window was empty

A user that is reserved already is granted and not counted again: a caller that crashed before its commit asks
again and gets the same answer. While tripped the window is frozen. A caller of an older era is denied if that era
had tripped: its partition has not come to the re-arm yet. Whoever is reserved is known, whatever ARGV 2 says.
]]
local wire, reserved = KEYS[1], KEYS[2]
local era, population, share_ppm = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local max_users, min_population = tonumber(ARGV[4]), tonumber(ARGV[5])
local window_ms, decided_at = tonumber(ARGV[6]), tonumber(ARGV[7])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function newer(candidate, than)
  local a, b = string.match(candidate, '^(%d+)-(%d+)$')
  local c, d = string.match(than, '^(%d+)-(%d+)$')
  a, b, c, d = tonumber(a or 0), tonumber(b or 0), tonumber(c or 0), tonumber(d or 0)
  if a ~= c then return a > c end
  return b > d
end

local stored = redis.call('HMGET', wire, 'era', 'previous_tripped', 'tripped_at', 'lag_ms')
local wire_era, previous_tripped = stored[1] or '', stored[2] == '1'
local tripped, lag_ms = stored[3] ~= false, tonumber(stored[4] or 0)

if newer(era, wire_era) then
  previous_tripped = tripped
  redis.call('DEL', wire, reserved)
  redis.call('HSET', wire, 'era', era, 'previous_tripped', previous_tripped and '1' or '0')
  wire_era, tripped, lag_ms = era, false, 0
end
local late = previous_tripped and newer(wire_era, era)
if not tripped then
  redis.call('ZREMRANGEBYSCORE', reserved, '-inf', now - window_ms)
end
local affected = redis.call('ZCARD', reserved)
local lag_before = lag_ms
if affected == 0 and not tripped then lag_ms = 0 end

local trips = false
local answers = {}
for i = 8, #ARGV do
  local user = ARGV[i]
  local answer = '0'
  if redis.call('ZSCORE', reserved, user) then
    answer = '1'
  elseif not tripped and not late then
    local users = affected + 1
    local known = math.max(population, users)
    local guarded = known >= min_population
    local fits = not guarded
      or not (users * 1000000 > share_ppm * known or (max_users >= 0 and users > max_users))
    if fits then
      redis.call('ZADD', reserved, now, user)
      affected = users
      lag_ms = math.max(lag_ms, now - decided_at)
      answer = '1'
    end
    if guarded and (not fits or affected * 1000000 >= share_ppm * known
        or (max_users >= 0 and affected >= max_users)) then
      tripped, trips = true, true
      redis.call('HSET', wire, 'tripped_at', now, 'affected', affected, 'population', known)
    end
  end
  answers[#answers + 1] = answer
end
if lag_ms ~= lag_before then
  redis.call('HSET', wire, 'lag_ms', lag_ms)
end
return {now, trips and 1 or 0, affected, table.concat(answers)}
