"""The layout of the store, and the way from an older one.

| schema | what is new |
| --- | --- |
| 1 | documents, one list an owner |
| 2 | `{zg}:living:<owner>` and `{zg}:ends:<owner>`, so that a page without expired tokens reads a page |

A step may be run twice, and by two processes at once, also beside one that has finished it and works by the new
layout; its number is written when it is done. Gateways of the older version are stopped before: what they write goes
by the old layout, and `zonegate store check --repair` brings it into the new one.
"""

from typing import Any, Final

from gateway.store import keys
from gateway.store.primary import Clients

STORE_SCHEMA: Final = 2
_AT_ONCE: Final = 1000

# KEYS  1 an owner's tokens, 2 its living, 3 its ends, 4 expiries
# ARGV  1 first rank, 2 last rank
# All go among the living: the next list takes out what has expired.
_LIST: Final = """
local found = redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2], 'WITHSCORES')
for place = 1, #found, 2 do
  redis.call('ZADD', KEYS[2], found[place + 1], found[place])
  local ends = redis.call('ZSCORE', KEYS[4], found[place])
  if ends then redis.call('ZADD', KEYS[3], ends, found[place]) end
end
"""

# KEYS  1 meta
# ARGV  1 the schema that was, 2 the one that is
# Whoever is late does not undo a step that somebody else has made since.
_REACHED: Final = """
if redis.call('HGET', KEYS[1], 'schema') == ARGV[1] then redis.call('HSET', KEYS[1], 'schema', ARGV[2]) end
"""


async def _list_the_living(client: Any) -> None:  # noqa: ANN401 - redis-py's types are generic in its settings
    prefix = keys.tokens_key("").encode()
    async for name in client.scan_iter(match=prefix + b"*", count=_AT_ONCE):
        owner = name.removeprefix(prefix)
        names = [name, keys.living_key("").encode() + owner, keys.ends_key("").encode() + owner, keys.EXPIRIES]
        # From the end: what is deleted meanwhile moves the rest towards the beginning, where it is still to be seen.
        end = await client.zcard(name)
        while end > 0:
            start = max(0, end - _AT_ONCE)
            await client.eval(_LIST, len(names), *names, start, end - 1)
            end = start


_STEPS: Final = {1: _list_the_living}


async def migrate(clients: Clients, schema: int) -> None:
    """Bring the store from `schema` to STORE_SCHEMA, step by step. Raises redis-py's errors: the caller maps them."""
    client: Any = clients.writer
    for number in range(schema, STORE_SCHEMA):
        await _STEPS[number](client)
        await client.eval(_REACHED, 1, keys.META, number, number + 1)
