"""What a million tokens cost: `make bench-scale`.

A real Valkey is filled past the gateway, with the keys that the gateway's own scripts would have written (a sample is
written both ways, and compared). All tokens belong to one owner, which is the worst case for its lists: one in ten has
expired, one in ten will. Then: bytes a token in the store; how long a page takes at the beginning, in the middle and at
the end of the list, and by how many commands and keys; bytes a token in a worker's memory.
"""

import argparse
import asyncio
import contextlib
import gc
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.records import NOW, USER, account, owner, policy, token, zone

from gateway.access.compiled import compile_owner, compile_token
from gateway.access.ports import Actor
from gateway.store import keys
from gateway.store.cache import Entry, OwnerCell, TokenCache
from gateway.store.embedded import EmbeddedServer
from gateway.store.primary import Primary
from gateway.store.redis_store import AuditLimits, RedisStore
from gateway.store_url import parse_store_url
from gateway.tokens.digest import Algorithm, Digest
from gateway.tokens.owner import OwnerKind, OwnerRef
from gateway.tokens.resource import Scope
from gateway.tokens.token import Token

ME: Final = OwnerRef(OwnerKind.USER, USER)
EXPIRED_BY: Final = NOW + 10_000_000
"""When one in ten has expired."""
PAGE: Final = 50
_BY: Final = Actor(token_id="e" * 32, owner=ME.key, address="192.0.2.7", request_id="request-0001")
_AT_ONCE: Final = 1000
_SAMPLE: Final = 200
_REMEMBERED: Final = 100_000
_PAGE_SIZE: Final = os.sysconf("SC_PAGE_SIZE")


class Cost(msgspec.Struct, frozen=True):
    """What a page costs. `commands`: calls by name; `read`: keys that were looked up."""

    milliseconds: float
    commands: dict[str, int]
    read: int
    shown: int


def tokens(count: int) -> Iterator[Token]:
    """Tokens as people make them, issued a second after each other: two policies, a network, for one in five an end."""
    ends = (EXPIRED_BY, EXPIRED_BY + 10_000_000, *[None] * 8)
    pattern = token(owner=ME, request_ip=["192.0.2.0/24"])
    on_zone = policy(["DNS Write", "Zone Read"], [zone("a" * 32)])
    on_account = policy(["Account Settings Read"], [account("c" * 32)], scope=Scope.ACCOUNT)
    for number in range(count):
        unlike = f"{(number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"
        yield msgspec.structs.replace(
            pattern,
            id=unlike,
            name=f"certificates of host {number}",
            digests=(Digest(alg=Algorithm.SHA256, key="", hex=unlike * 2),),
            issued_on=NOW + number,
            modified_on=NOW + number,
            policies=(
                msgspec.structs.replace(on_zone, id=unlike, resources={zone(unlike): "*"}),
                msgspec.structs.replace(on_account, id=unlike[::-1]),
            ),
            expires_on=ends[number % len(ends)],
        )


async def fill(redis: Redis, made: Iterator[Token]) -> int:
    """The keys of `made` are there, as the script of a creation leaves them; returns the bytes of all documents."""
    size = 0
    lists = [keys.tokens_key(ME.key), keys.living_key(ME.key)]
    while batch := list(itertools.islice(made, _AT_ONCE)):
        documents = {keys.token_key(each.id): msgspec.json.encode(each) for each in batch}
        size += sum(map(len, documents.values()))
        places = {each.id: each.issued_on * 1_000_000 for each in batch}
        ends = {each.id: each.expires_on for each in batch if each.expires_on is not None}
        pipe = redis.pipeline(transaction=False)
        pipe.mset(documents)
        for name in lists:
            pipe.zadd(name, places)
        if ends:
            pipe.zadd(keys.ends_key(ME.key), ends)
            pipe.zadd(keys.EXPIRIES, ends)
        await pipe.execute()
    return size


async def contents(redis: Redis) -> dict[bytes, Any]:
    """All that is there of tokens: documents and lists."""
    found: dict[bytes, Any] = {}
    for name in await redis.keys("{zg}:*"):
        kind = await redis.type(name)
        if kind == b"zset":
            found[name] = await redis.zrange(name, 0, -1, withscores=True)
        elif kind == b"string" and name != keys.SEQUENCE.encode():
            found[name] = await redis.get(name)
    return found


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[RedisStore, Redis]]:
    """The store at `url`, and a client of its server."""
    store = RedisStore(Primary(parse_store_url(url)), peppers=(), audit=AuditLimits(1000, 10**9))
    redis = Redis.from_url(url)
    try:
        yield store, redis
    finally:
        await redis.aclose()
        await store.close()


async def is_filled_alike(url: str) -> bool:
    """Whether `fill` leaves what the store's own creations leave."""
    async with opened(f"{url}?db=1") as (_, past), opened(f"{url}?db=2") as (store, through):
        await fill(past, tokens(_SAMPLE))
        for made in tokens(_SAMPLE):
            await store.create(made, _BY, made.issued_on)
        alike = await contents(past) == await contents(through)
        await past.flushdb()
        await through.flushdb()
    return alike


async def cost_of_page(
    store: RedisStore, redis: Redis, *, start: int, count: int = PAGE, include_expired: bool, rounds: int = 1
) -> Cost:
    """What a page costs; the median of `rounds`."""
    times = []
    for _ in range(rounds):
        await redis.config_resetstat()
        began = time.perf_counter()
        page = await store.page(
            ME, start=start, count=count, descending=False, include_expired=include_expired, now=EXPIRED_BY
        )
        times.append((time.perf_counter() - began) * 1000)
    commands = {
        name.removeprefix("cmdstat_"): stats["calls"]
        for name, stats in (await redis.info("commandstats")).items()
        if not name.startswith("cmdstat_config")
    }
    stats = await redis.info("stats")
    return Cost(
        milliseconds=statistics.median(times),
        commands=commands,
        read=stats["keyspace_hits"] + stats["keyspace_misses"],
        shown=len(page.tokens),
    )


def _resident() -> int:
    """Bytes of memory that this process has."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_SIZE


def bytes_remembered(count: int) -> float:
    """Bytes of a worker's memory for each token that it remembers."""
    documents = [msgspec.json.encode(each) for each in tokens(count)]
    cell = OwnerCell(b"", compile_owner(owner(ref=ME)))
    cache = TokenCache(most_tokens=count)
    decoder = msgspec.json.Decoder(Token)
    before = _resident()
    for document in documents:
        read = decoder.decode(document)
        cache.put(read.id, Entry(compile_token(read, cell.compiled), cell, 60.0))
    return (_resident() - before) / len(cache)


async def measure(url: str, count: int) -> dict[str, Any]:
    """All that the table shows."""
    remembered = bytes_remembered(min(count, _REMEMBERED))
    async with opened(url) as (store, redis):
        await redis.config_set("appendonly", "no")
        if not await is_filled_alike(url):
            sys.exit("bench-scale: the store was not filled as a gateway fills it")
        await store.prepare()
        await store.change_owner(ME, b"", owner(ref=ME), "owner-create", _BY, NOW)
        before = (await redis.info("memory"))["used_memory"]
        began = time.perf_counter()
        size = await fill(redis, tokens(count))
        filled = time.perf_counter() - began
        used = (await redis.info("memory"))["used_memory"] - before
        rows = []
        expired = await redis.zcount(keys.ends_key(ME.key), "-inf", EXPIRED_BY)
        first = await cost_of_page(store, redis, start=0, include_expired=False)
        for include_expired in (False, True):
            shown = count if include_expired else count - expired
            for where, start in (("first", 0), ("middle", shown // 2), ("last", max(0, shown - PAGE))):
                cost = await cost_of_page(store, redis, start=start, include_expired=include_expired, rounds=21)
                rows.append({"page": where, "expired": include_expired, **msgspec.to_builtins(cost)})
    return {
        "tokens": count,
        "expired": expired,
        "seconds_to_fill": filled,
        "document_bytes": size / count,
        "store_bytes": used / count,
        "remembered_bytes": remembered,
        "first_page_after_expiry_ms": first.milliseconds,
        "pages": rows,
    }


def table(found: dict[str, Any]) -> str:
    """For people."""
    expired = found["expired"]
    lines = [
        f"{found['tokens']} tokens of one owner, {expired} of them expired; filled in {found['seconds_to_fill']:.0f} s",
        "",
        f"a document                        {found['document_bytes']:8.0f} bytes",
        f"a token in the store, with lists  {found['store_bytes']:8.0f} bytes",
        f"a token in a worker's memory      {found['remembered_bytes']:8.0f} bytes",
        "",
        f"{'a page of 50':16}{'expired ones':14}{'median':>10}{'keys read':>11}  commands",
    ]
    for row in found["pages"]:
        commands = ", ".join(f"{name} {calls}" for name, calls in sorted(row["commands"].items()))
        kind = "with" if row["expired"] else "without"
        lines.append(f"{row['page']:16}{kind:14}{row['milliseconds']:7.2f} ms{row['read']:11}  {commands}")
    lines += [
        "",
        f"The first page that leaves {expired} expired ones out takes {found['first_page_after_expiry_ms']:.0f} ms.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="tokens")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedServer(Path(directory))
        try:
            found = asyncio.run(measure(server.start(), options.count))
        finally:
            server.stop()
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if options.json else table(found))


if __name__ == "__main__":
    main()
