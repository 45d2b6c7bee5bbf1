"""Which owners have tokens that end soon: for metrics, so that somebody makes new ones in time."""

from typing import Any, Final

from gateway.access.ports import StoreUnavailable
from gateway.store import keys
from gateway.store.redis_store import RedisStore

SOON: Final = 7 * 86400
"""Seconds before its end: a token ends soon then."""
MOST_OWNERS: Final = 100
"""Those that were made first have a number of their own; all others have one together."""
OTHERS: Final = "other"


async def ending_soon(store: RedisStore, now: float) -> dict[str, int] | None:
    """How many tokens end in (now, now + SOON], by owner (`OwnerRef.key`); owners without any are left out.

    None: the store cannot be asked. `now`: Unix seconds.
    """
    begin, end = f"({now}", now + SOON
    try:
        async with store.using() as clients:
            reader: Any = clients.reader
            owners = [each.decode() for each in await reader.zrange(keys.OWNERS, 0, MOST_OWNERS - 1)]
            pipe: Any = reader.pipeline(transaction=False)
            pipe.zcount(keys.EXPIRIES, begin, end)
            for owner in owners:
                pipe.zcount(keys.ends_key(owner), begin, end)
            total, *counts = await pipe.execute()
    except StoreUnavailable:
        return None
    found = {owner: count for owner, count in zip(owners, counts, strict=True) if count}
    if others := max(0, total - sum(counts)):
        found[OTHERS] = others
    return found
