"""The Lua scripts: one a change, so that document, lists, audit, number and message happen together or not at all.

Each begins with the same arguments (`COMMON`). A script is not undone when it fails in its middle, so what can fail
comes first, and what is told last is what was already written: number, message, audit entry, then the documents. A
message about a change that was not made costs a look-up; a change without its message would leave a dead token alive.
"""

from typing import Final

# KEYS  1 sequence, 2 audit
# ARGV  1 channel, 2 PUBLISH or SPUBLISH, 3 what the message says, 4 most audit entries, 5 oldest audit id,
#       6 how many fields and values follow: those of the audit entry
COMMON: Final = """
local last = 6 + tonumber(ARGV[6])
local function arg(place) return ARGV[last + place] end
local function write_entry()
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, 7, last))
  redis.call('XTRIM', KEYS[2], 'MINID', '~', ARGV[5])
end
local function tell()
  local number = redis.call('INCR', KEYS[1])
  redis.call(ARGV[2], ARGV[1], number .. ' ' .. ARGV[3])
  write_entry()
  return number
end
"""

# KEYS  3 document, 4 owner's list, 5 its living, 6 its ends, 7 expiries, 8 use
# arg   1 token id, 2 microseconds (a new token's place in the list), 3 expires_on or "", 4 now (seconds),
#       5 the document
_TOKEN: Final = """
local function put()
  redis.call('ZADD', KEYS[4], 'NX', arg(2), arg(1))
  if arg(3) == '' then
    redis.call('ZREM', KEYS[6], arg(1))
    redis.call('ZREM', KEYS[7], arg(1))
  else
    redis.call('ZADD', KEYS[7], arg(3), arg(1))
  end
  if arg(3) ~= '' and tonumber(arg(3)) <= tonumber(arg(4)) then
    redis.call('ZREM', KEYS[5], arg(1))
    redis.call('ZREM', KEYS[6], arg(1))
  else
    redis.call('ZADD', KEYS[5], redis.call('ZSCORE', KEYS[4], arg(1)), arg(1))
    if arg(3) ~= '' then redis.call('ZADD', KEYS[6], arg(3), arg(1)) end
  end
  redis.call('SET', KEYS[3], arg(5))
end
local function remove()
  redis.call('DEL', KEYS[3], KEYS[8])
  for place = 4, 7 do redis.call('ZREM', KEYS[place], arg(1)) end
end
"""

# arg   5 the new document ("" = delete), 6 the document as it was read ("" = not there)
# Returns the change's number, or 0 when the document is not what it was: nothing is written then.
CHANGE: Final = (
    COMMON
    + _TOKEN
    + """
if (redis.call('GET', KEYS[3]) or '') ~= arg(6) then return 0 end
local number = tell()
if arg(5) == '' then remove() else put() end
return number
"""
)

# KEYS  as CHANGE
# ARGV  1 token id, 2 microseconds (its place, if the list knows none), 3 expires_on or "", 4 now (seconds),
#       5 the document as it was read
# Puts a token into its lists anew; no document changes, so nobody is told.
# Returns 0 when the document is not what it was.
RELIST: Final = (
    "local function arg(place) return ARGV[place] end"
    + _TOKEN
    + """
if redis.call('GET', KEYS[3]) ~= arg(5) then return 0 end
local place = tonumber(redis.call('ZSCORE', KEYS[4], arg(1)) or 0)
if place == math.huge or place == -math.huge then redis.call('ZREM', KEYS[4], arg(1)) end
put()
return 1
"""
)

# As CHANGE, and KEYS 9 owner's document, 10 owners; arg 6 the owner's document, 7 the owner,
# 8 "recover" to go on whatever owners there are, "beside" to go on if this one is not there, "" if none is.
# Returns 0 when it does not go on.
INITIALISE: Final = (
    COMMON
    + _TOKEN
    + """
if arg(8) == '' and redis.call('EXISTS', KEYS[10]) == 1 then return 0 end
if arg(8) == 'beside' and redis.call('EXISTS', KEYS[9]) == 1 then return 0 end
local number = tell()
redis.call('SET', KEYS[9], arg(6))
redis.call('ZADD', KEYS[10], 'NX', arg(2), arg(7))
put()
return number
"""
)

# KEYS  3 owner's document, 4 owners
# arg   1 the owner, 2 microseconds, 3 the new document ("" = delete), 4 the document as it was read ("" = not there)
# Returns as CHANGE.
CHANGE_OWNER: Final = (
    COMMON
    + """
if (redis.call('GET', KEYS[3]) or '') ~= arg(4) then return 0 end
local number = tell()
if arg(3) == '' then
  redis.call('DEL', KEYS[3])
  redis.call('ZREM', KEYS[4], arg(1))
else
  redis.call('ZADD', KEYS[4], 'NX', arg(2), arg(1))
  redis.call('SET', KEYS[3], arg(3))
end
return number
"""
)

# KEYS  3 document
# arg   1 the new document ("" = delete), 2 the document as it was read ("" = not there)
# Returns as CHANGE.
CHANGE_DOCUMENT: Final = (
    COMMON
    + """
if (redis.call('GET', KEYS[3]) or '') ~= arg(2) then return 0 end
local number = tell()
if arg(1) == '' then redis.call('DEL', KEYS[3]) else redis.call('SET', KEYS[3], arg(1)) end
return number
"""
)

# KEYS  3 meta
# arg   1 field, 2 value ("" = none)
# Returns 0 when the field has that value already. A freeze is counted: sessions of the dashboard end with it, and not
# only for as long as it lasts.
CHANGE_META: Final = (
    COMMON
    + """
if (redis.call('HGET', KEYS[3], arg(1)) or '') == arg(2) then return 0 end
if arg(1) == 'frozen' and arg(2) ~= '' then redis.call('HINCRBY', KEYS[3], 'freezes', 1) end
local number = tell()
if arg(2) == '' then
  redis.call('HDEL', KEYS[3], arg(1))
else
  redis.call('HSET', KEYS[3], arg(1), arg(2))
end
return number
"""
)

# An audit entry about something that changed nothing: no number, no message. Returns 1.
ENTRY: Final = (
    COMMON
    + """
write_entry()
return 1
"""
)

# KEYS  1 an owner's living, 2 its ends
# ARGV  1 now (seconds), 2 at most so many
# Takes expired tokens out of the living; returns how many.
SWEEP: Final = """
local expired = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
if #expired > 0 then
  redis.call('ZREM', KEYS[1], unpack(expired))
  redis.call('ZREM', KEYS[2], unpack(expired))
end
return #expired
"""
