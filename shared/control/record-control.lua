--[[
record-control: writes one control into the control log, and with it what is now asked of the rule.

  KEYS  1 rules (hash: rule -> settings asked for, JSON)   2 log (stream)
  ARGV  1 rule   2 settings as the caller read them ('' for none)   3 new settings ('' to leave them)
        4 control (JSON, without its id)   5 entries the log keeps
  reply control id (the id of the log entry)
        false   the settings changed meanwhile: read again

The new settings are made of the old ones by the caller, hence the comparison: of two calls that each change a part,
neither undoes the other.
]]
if ARGV[3] ~= '' then
  local current = redis.call('HGET', KEYS[1], ARGV[1]) or ''
  if current ~= ARGV[2] then
    return false
  end
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return redis.call('XADD', KEYS[2], 'MAXLEN', '=', ARGV[5], '*', 'c', ARGV[4])
