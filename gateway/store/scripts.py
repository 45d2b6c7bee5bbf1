"""The Lua scripts: one a change, so that document, list, audit, number and message happen together or not at all."""

from typing import Final

_COMMON: Final = """
-- First, so that a stream that cannot be written stops the change before it is made.
local function audit(from)
  local entry = {}
  for i = from, #ARGV do entry[#entry + 1] = ARGV[i] end
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[6], '*', unpack(entry))
  redis.call('XTRIM', KEYS[5], 'MINID', '~', ARGV[7])
  return redis.call('INCR', KEYS[4])
end
local function put()
  redis.call('ZADD', KEYS[2], 'NX', ARGV[4], ARGV[3])
  if ARGV[5] == '' then
    redis.call('ZREM', KEYS[3], ARGV[3])
  else
    redis.call('ZADD', KEYS[3], ARGV[5], ARGV[3])
  end
  redis.call('SET', KEYS[1], ARGV[2])
end
local function tell(number)
  redis.call('PUBLISH', ARGV[8], number .. ' token:' .. ARGV[3])
  return number
end
"""

# KEYS  1 document, 2 owner's list, 3 expiries, 4 sequence, 5 audit
# ARGV  1 the document as it was read ("" = not there), 2 the new one ("" = delete), 3 token id,
#       4 now (microseconds: a new token's place in the list), 5 expires_on or "",
#       6 most audit entries, 7 oldest audit id, 8 channel, 9... the audit entry's fields and values
# Returns the change's number, or 0 when the document is not what it was: nothing is written then.
CHANGE: Final = (
    _COMMON
    + """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
local number = audit(9)
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[3])
  redis.call('ZREM', KEYS[3], ARGV[3])
else
  put()
end
return tell(number)
"""
)

# As CHANGE, and KEYS 6 owner's document, 7 owners; ARGV 1 the owner's document, 9 the owner.
# Returns 0 when there is an owner.
INITIALISE: Final = (
    _COMMON
    + """
if redis.call('EXISTS', KEYS[7]) == 1 then return 0 end
local number = audit(10)
redis.call('SET', KEYS[6], ARGV[1])
redis.call('ZADD', KEYS[7], ARGV[4], ARGV[9])
put()
return tell(number)
"""
)
