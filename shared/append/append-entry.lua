--[[
append_entry: included by every script that adds to a partition's stream.

An id is never at or below the head's position, where no worker would look: after a restart that lost the last
second, or a failover to a clock that lags, XADD might make one.
]]
local function append_entry(stream, position, version, count, messages)
  local id = redis.call('XADD', stream, '*', 'v', version, 'n', count, 'm', messages)
  if position then
    local ms, n = string.match(id, '(%d+)-(%d+)')
    local headMs, headN = string.match(position, '(%d+)-(%d+)')
    ms, n, headN = tonumber(ms), tonumber(n), tonumber(headN)
    if ms < tonumber(headMs) or (ms == tonumber(headMs) and n <= headN) then
      redis.call('XDEL', stream, id)
      id = redis.call('XADD', stream, headMs .. '-' .. string.format('%.0f', headN + 1),
        'v', version, 'n', count, 'm', messages)
    end
  end
  return id
end
