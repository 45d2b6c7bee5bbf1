"""The tokens of the contest, ten on each zone; every store that a contestant asks holds the same ones."""

import asyncio
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
from redis import Redis
from scale import ME, fill, opened
from support.records import NOW, owner, policy, secret_of, token, zone

from gateway.access.ports import Action, Actor

TOKENS: Final = 10_000
ZONES: Final = 1_000
_BY: Final = Actor(token_id="", owner=ME.key, address="", request_id="")
_FAR: Final = 4_000_000_000


def _unlike(number: int) -> str:
    """32 hexadecimal digits that begin unlike those of the next number."""
    return f"{(number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"


class Holder(msgspec.Struct, frozen=True):
    """What a client has: a token's id, its secret, and the one zone on which it may read and write records."""

    id: str
    secret: str
    zone: str

    @property
    def credential(self) -> str:
        """The value of `Authorization`."""
        return f"Bearer {self.secret}"


def holder(number: int) -> Holder:
    """The client of that number, from 0."""
    token_id = _unlike(number)
    return Holder(token_id, secret_of(token_id).reveal(), _unlike(TOKENS + number % ZONES))


FIRST: Final = holder(0)
OTHER_ZONE: Final = holder(1).zone
WRONG_SECRET: Final = secret_of(FIRST.id, fill=8).reveal()
"""Well-formed, of a token that exists, and not its secret."""


def digest_of(secret: str) -> bytes:
    """What is stored in a secret's place."""
    return hashlib.sha256(secret.encode()).digest()


async def _fill_gateways(url: str, holders: Iterable[Holder]) -> None:
    async with opened(url) as (store, redis):
        await store.prepare()
        await store.change_owner(ME, b"", owner(ref=ME), Action.OWNER_CREATE, _BY, NOW)
        made = (token([policy(["DNS Write"], [zone(each.zone)])], token_id=each.id, owner=ME) for each in holders)
        await fill(redis, made)


def _fill_teams(redis: Redis, holders: Iterable[Holder]) -> None:
    """What a team would keep: a hash for each digest."""
    with redis.pipeline(transaction=False) as pipe:
        for each in holders:
            record: dict[Any, Any] = {
                "id": each.id,
                "status": "active",
                "not_before": 0,
                "expires_on": _FAR,
                "rights": f"write@{each.zone}",
            }
            pipe.hset(b"team:" + digest_of(each.secret), mapping=record)
        pipe.execute()


def fill_store(url: str) -> None:
    """The store at `url` holds all tokens: as the gateway keeps them, and as a team would."""
    holders = [holder(number) for number in range(TOKENS)]
    asyncio.run(_fill_gateways(url, holders))
    with Redis.from_url(url) as redis:
        _fill_teams(redis, holders)


def write_files(directory: Path) -> None:
    """`tokens.txt` for the generator (zone, secret), and `tokens.map` for haproxy (digest, zone)."""
    holders = [holder(number) for number in range(TOKENS)]
    (directory / "tokens.txt").write_text("".join(f"{each.zone} {each.secret}\n" for each in holders))
    (directory / "tokens.map").write_text(
        "".join(f"{digest_of(each.secret).hex().upper()} {each.zone}\n" for each in holders)
    )
