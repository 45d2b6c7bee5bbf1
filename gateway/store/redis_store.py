"""Tokens and owners in Redis or Valkey, through `redis.asyncio`."""

import re
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar, cast
from urllib.parse import parse_qs, urlsplit

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from gateway.access.ports import Action, Actor, Conflict, Page, StoreUnavailable
from gateway.access.principal import Record
from gateway.store import keys, scripts
from gateway.tokens.owner import Owner, OwnerRef
from gateway.tokens.token import SCHEMA, Token

READ_TIMEOUT: Final = 0.5
CHANGE_TIMEOUT: Final = 2.0
_DATABASE: Final = re.compile(r"/?|/\d{1,4}", re.ASCII)
_NOT_ANSWERED: Final = "the store did not answer"
_DID_NOT_RUN: Final = (OutOfMemoryError, ReadOnlyError, NoPermissionError, MasterDownError, ClusterDownError)
_DID_NOT_RUN_CODES: Final = frozenset({"MISCONF", "NOREPLICAS", "BUSY"})
"""Codes (an error's first word) for which redis-py has no class."""

T = TypeVar("T", Token, Owner)
_encoder: Final = msgspec.json.Encoder()
_decoders: Final[dict[type, msgspec.json.Decoder[Any]]] = {
    type_: msgspec.json.Decoder(type_) for type_ in (Token, Owner)
}


class StoreRefused(Exception):  # noqa: N818 - it says what is the case
    """The store is there, and must not be used with these settings. One line with the remedy."""


class AuditLimits(msgspec.Struct, frozen=True):
    """How much of the audit is kept: entries, and seconds."""

    max_entries: int
    max_age: int


def connect(url: str, timeout: float) -> Redis:
    """A client for `url` (redis:// rediss:// unix://; the one option is `db`). Raises ValueError.

    redis-py's own defaults hang for 25 s, and repeat commands.
    """
    parts = urlsplit(url)
    if set(parse_qs(parts.query, keep_blank_values=True)) - {"db"}:
        msg = "options in the URL would undo our time limits"
        raise ValueError(msg)
    if parts.scheme != "unix" and not _DATABASE.fullmatch(parts.path):
        msg = "redis-py takes a path that is no number for database 0"
        raise ValueError(msg)
    return Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        health_check_interval=0,
    )


@asynccontextmanager
async def _mapped(*, changes: bool = False) -> AsyncIterator[None]:
    """Turn redis-py's errors into ours.

    A server that refused the command before it ran has written nothing; any other error may hide a change that was
    made, a script's own among them.
    """
    try:
        yield
    except AuthenticationError as error:
        raise StoreUnavailable("the store refused the user or the password") from error
    except ResponseError as error:
        refused = isinstance(error, _DID_NOT_RUN) or str(error).partition(" ")[0] in _DID_NOT_RUN_CODES
        raise StoreUnavailable(str(error), outcome_unknown=changes and not refused) from error
    except (RedisError, OSError, TimeoutError) as error:
        raise StoreUnavailable(_NOT_ANSWERED, outcome_unknown=changes) from error


def _decode(raw: bytes, type_: type[T]) -> T:
    try:
        document = cast("T", _decoders[type_].decode(raw))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        msg = f"a document of the type {type_.__name__} cannot be read"
        raise StoreUnavailable(msg) from error
    if document.schema > SCHEMA:
        msg = f"a document has schema {document.schema}; this version knows {SCHEMA}"
        raise StoreUnavailable(msg)
    return document


class RedisStore:
    """The `TokenStore` of production. Keys and scripts: see `keys.py` and `scripts.py`."""

    def __init__(self, reader: Redis, writer: Redis, *, peppers: Sequence[str], audit: AuditLimits) -> None:
        """`reader` and `writer` may be the same; they differ in their time limits. `peppers`: public names."""
        # redis-py types an answer by what any setting of its client could make of it; ours are bytes.
        self._reader: Any = reader
        self._writer: Any = writer
        self._peppers = tuple(peppers)
        self._audit = audit
        self._change = writer.register_script(scripts.CHANGE)
        self._initialise = writer.register_script(scripts.INITIALISE)
        self._prepared = False

    async def prepare(self) -> None:
        """Mark the store as ours. Raises StoreRefused for a newer schema, or peppers that none of ours is among."""
        async with _mapped():
            await self._reader.hsetnx(keys.META, "schema", str(SCHEMA))
            await self._reader.hsetnx(keys.META, "generation", secrets.token_hex(16))
            schema, listed = await self._reader.hmget(keys.META, ["schema", "peppers"])
            if not schema or not schema.isdigit():
                raise StoreRefused("the store's schema cannot be read: is it a store of zonegate's?")
            if int(schema) > SCHEMA:
                msg = f"the store has schema {int(schema)}, this version knows {SCHEMA}: use a newer zonegate"
                raise StoreRefused(msg)
            known = set((listed or b"").decode().split())
            if known and not known & set(self._peppers):
                msg = (
                    f"store.pepper: the store was used with the peppers {', '.join(sorted(known))}, "
                    "and none of these is set: set one of them again"
                )
                raise StoreRefused(msg)
            if missing := set(self._peppers) - known:
                await self._reader.hset(keys.META, "peppers", " ".join(sorted(known | missing)))
        self._prepared = True

    async def _ready(self) -> None:
        if not self._prepared:
            try:
                await self.prepare()
            except StoreRefused as refused:
                raise StoreUnavailable(str(refused)) from refused

    async def ping(self) -> None:
        """See `TokenStore.ping`."""
        await self._ready()
        async with _mapped():
            await self._reader.ping()

    async def get(self, token_id: str) -> Record | None:
        """See `TokenStore.get`."""
        await self._ready()
        async with _mapped():
            raw = await self._reader.get(keys.token_key(token_id))
        if raw is None:
            return None
        token = _decode(raw, Token)
        if token.id != token_id:
            msg = "a document carries another id than its key"
            raise StoreUnavailable(msg)
        async with _mapped():
            found = await self._reader.get(keys.owner_key(token.owner.key))
        owner = _decode(found, Owner) if found else None
        if owner is not None and owner.ref != token.owner:
            raise StoreUnavailable("an owner's document is another owner's than its key says")
        return Record(token=token, owner=owner, raw=raw)

    async def page(  # noqa: PLR0913 - see `TokenStore.page`
        self, owner: OwnerRef, *, start: int, count: int, descending: bool, include_expired: bool, now: float
    ) -> Page:
        """See `TokenStore.page`."""
        await self._ready()
        name = keys.tokens_key(owner.key)
        async with _mapped():
            if include_expired:
                total = await self._reader.zcard(name)
                ids = await self._reader.zrange(name, start, start + count - 1, desc=descending)
            else:
                every = await self._reader.zrange(name, 0, -1, desc=descending)
                expired = set(await self._reader.zrangebyscore(keys.EXPIRIES, "-inf", now))
                living = [token_id for token_id in every if token_id not in expired]
                total, ids = len(living), living[start : start + count]
            found = await self._reader.mget([keys.token_key(token_id.decode()) for token_id in ids]) if ids else []
        return Page(tuple(_decode(raw, Token) for raw in found if raw is not None), total)

    async def create(self, token: Token, by: Actor, now: float) -> bytes:
        """See `TokenStore.create`."""
        return await self._put(None, token, Action.CREATE, by, now)

    async def replace(self, old: Record, new: Token, action: Action, by: Actor, now: float) -> bytes:
        """See `TokenStore.replace`."""
        return await self._put(old, new, action, by, now)

    async def delete(self, old: Record, action: Action, by: Actor, now: float) -> None:
        """See `TokenStore.delete`."""
        await self._put(old, None, action, by, now)

    async def _put(self, old: Record | None, new: Token | None, action: Action, by: Actor, now: float) -> bytes:
        token = cast("Token", new or (old and old.token))
        raw = _encoder.encode(new) if new else b""
        entry = self._entry(action, by, token.id, before=old.token if old else None, after=new)
        await self._run(
            self._change,
            [
                keys.token_key(token.id),
                keys.tokens_key(token.owner.key),
                keys.EXPIRIES,
                keys.SEQUENCE,
                keys.AUDIT,
            ],
            [old.raw if old else b"", *self._change_arguments(token, raw, now), *entry],
        )
        return raw

    async def initialise(self, owner: Owner, token: Token, now: float) -> None:
        """See `TokenStore.initialise`."""
        by = Actor(token_id="", owner=owner.ref.key, address="", request_id="")
        await self._run(
            self._initialise,
            [
                keys.token_key(token.id),
                keys.tokens_key(token.owner.key),
                keys.EXPIRIES,
                keys.SEQUENCE,
                keys.AUDIT,
                keys.owner_key(owner.ref.key),
                keys.OWNERS,
            ],
            [
                _encoder.encode(owner),
                *self._change_arguments(token, _encoder.encode(token), now),
                owner.ref.key,
                *self._entry(Action.INIT, by, token.id, before=None, after=token),
            ],
        )

    def _change_arguments(self, token: Token, raw: bytes, now: float) -> list[Any]:
        return [
            raw,
            token.id,
            int(now * 1_000_000),
            "" if token.expires_on is None else token.expires_on,
            self._audit.max_entries,
            max(0, int((now - self._audit.max_age) * 1000)),
            keys.CHANGED,
        ]

    def _entry(
        self, action: Action, by: Actor, token_id: str, *, before: Token | None, after: Token | None
    ) -> list[Any]:
        """Fields and values of an audit entry. Digests are left out: whoever reads the audit need not see them."""
        fields = {
            "action": action,
            "token": token_id,
            "actor_token": by.token_id,
            "actor_owner": by.owner,
            "address": by.address,
            "request_id": by.request_id,
            "before": _without_digests(before),
            "after": _without_digests(after),
        }
        return [part for pair in fields.items() for part in pair]

    async def _run(self, script: Any, names: Iterable[str], arguments: Iterable[Any]) -> None:  # noqa: ANN401 - redis-py's own type is generic in its client
        await self._ready()
        async with _mapped(changes=True):
            number = await script(keys=list(names), args=list(arguments))
        if number == 0:
            raise Conflict

    async def close(self) -> None:
        """Close the connections."""
        await self._reader.aclose()
        await self._writer.aclose()


def _without_digests(token: Token | None) -> bytes:
    return _encoder.encode(msgspec.structs.replace(token, digests=())) if token else b""
