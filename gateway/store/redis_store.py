"""Tokens and owners in Redis or Valkey, through `redis.asyncio`."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar, cast

import msgspec
from redis.exceptions import ResponseError

from gateway.access.ports import Action, Actor, Conflict, Denied, NotReplicated, OwnerPage, Page, StoreUnavailable
from gateway.access.principal import Record
from gateway.start_error import StartError
from gateway.store import keys, scripts
from gateway.store.failure import is_elsewhere, mapped
from gateway.store.primary import Clients, Primary
from gateway.store.schema import STORE_SCHEMA, migrate
from gateway.store.zone_pin import PIN_SCHEMA, ZonePin
from gateway.tokens.owner import Owner, OwnerKind, OwnerRef, owner_without_record
from gateway.tokens.token import SCHEMA, Token

_WAIT_MILLISECONDS: Final = 1000
"""How long a change waits for replicas: well within the time limit of its connection."""
LONGEST_NUMBER: Final = 19
"""Digits of what Redis counts to."""
_SWEPT_AT_ONCE: Final = 1000
_OWNERS_AT_ONCE: Final = 100
_TRIMMED_AT_ONCE: Final = 10_000
_NOBODY: Final = Actor(token_id="", owner="", address="", request_id="")
_BESIDE: Final = {Action.RECOVER: "recover", Action.OWNER_CREATE: "beside"}
"""Which owners may be there already: see `INITIALISE`."""

T = TypeVar("T", Token, Owner, ZonePin)
_encoder: Final = msgspec.json.Encoder()
_decoders: Final[dict[type, msgspec.json.Decoder[Any]]] = {
    type_: msgspec.json.Decoder(type_) for type_ in (Token, Owner, ZonePin)
}
_SCHEMAS: Final[dict[type, int]] = {Token: SCHEMA, Owner: SCHEMA, ZonePin: PIN_SCHEMA}


class StoreRefused(StartError):  # noqa: N818 - it says what is the case
    """The store is there, and must not be used with these settings. One line with the remedy."""


class AuditLimits(msgspec.Struct, frozen=True):
    """How much of the audit is kept: entries, and seconds."""

    max_entries: int
    max_age: int


class Meta(msgspec.Struct, frozen=True):
    """What `{zg}:meta` says besides the schema. `generation` None: the store is empty."""

    generation: str | None
    frozen: str | None
    """Since when no token works (Unix seconds, as text), None when they do."""
    sequence: int


def decode(raw: bytes, type_: type[T]) -> T:
    """The document `raw`. Raises StoreUnavailable for one that cannot be read, or that a newer version wrote."""
    try:
        document = cast("T", _decoders[type_].decode(raw))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        msg = f"a document of the type {type_.__name__} cannot be read"
        raise StoreUnavailable(msg) from error
    if document.schema > _SCHEMAS[type_]:
        msg = f"a document has schema {document.schema}; this version knows {_SCHEMAS[type_]}"
        raise StoreUnavailable(msg)
    return document


def decode_token(raw: bytes, token_id: str) -> Token:
    """The token `token_id`. Raises StoreUnavailable, also when the document is another token's."""
    token = decode(raw, Token)
    if token.id != token_id:
        msg = "a document carries another id than its key"
        raise StoreUnavailable(msg)
    return token


def decode_owner(raw: bytes, ref: OwnerRef) -> Owner:
    """The owner `ref`. Raises StoreUnavailable, also when the document is another owner's."""
    owner = decode(raw, Owner)
    if owner.ref != ref:
        raise StoreUnavailable("an owner's document is another owner's than its key says")
    return owner


def decode_pin(raw: bytes, key: str) -> ZonePin:
    """The pin of the zone `key`. Raises StoreUnavailable, also when the document is another zone's."""
    pin = decode(raw, ZonePin)
    if pin.key != key:
        raise StoreUnavailable("a zone's document is another zone's than its key says")
    return pin


class _Made(msgspec.Struct, frozen=True):
    """The part of a token's document that says who made it."""

    id: str
    issued_by: str = ""


_made: Final = msgspec.json.Decoder(_Made)


class _Change(msgspec.Struct, frozen=True):
    """A script to run, `what` it changes, and the audit's entry about it."""

    script: str
    what: Sequence[str]
    names: Iterable[str]
    """Its keys behind the first two."""
    arguments: Iterable[Any]
    """Its arguments behind those that all have."""
    entry: Mapping[str, Any]
    stream: str = keys.AUDIT
    """Where its entry goes."""


class Imported(msgspec.Struct, frozen=True):
    """A document to store as it is (`raw`), at a given place in its list, for exactly `old` (b"": none)."""

    document: Token | Owner | ZonePin
    raw: bytes
    place: int
    old: bytes


class RedisStore:
    """The `TokenStore` of production. Keys and scripts: see `keys.py` and `scripts.py`."""

    def __init__(
        self, primary: Primary, *, peppers: Sequence[str], audit: AuditLimits, write_replicas: int = 0
    ) -> None:
        """`peppers`: public names; `write_replicas`: how many replicas must have a change before it counts as made."""
        self.primary = primary
        self._peppers = tuple(peppers)
        self._audit = audit
        self._write_replicas = write_replicas
        self._prepared = False
        self.on_change: list[Callable[[str], None]] = []
        """Told what changed (`token:<id>`, ...) before a change of this process answers, whether it succeeded or
        nobody knows.
        """

    @asynccontextmanager
    async def using(self, *, changes: bool = False) -> AsyncIterator[Clients]:
        """The clients of the primary; a server that is none any more is not asked again. Raises StoreUnavailable."""
        clients = await self.primary.clients()
        try:
            async with mapped(changes=changes):
                yield clients
        except StoreUnavailable as error:
            if error.__cause__ is not None and is_elsewhere(error.__cause__):
                self.primary.lost(clients)
            raise

    async def prepare(self) -> None:
        """Mark the store as ours. Raises StoreRefused for a newer schema, or peppers that none of ours is among."""
        async with self.using() as clients:
            client: Any = clients.guard
            # Read first: a store that is full, and can be read, is ours all the same.
            schema, generation, listed = await client.hmget(keys.META, ["schema", "generation", "peppers"])
            if not schema or not generation:
                await client.hsetnx(keys.META, "schema", str(STORE_SCHEMA))
                await client.hsetnx(keys.META, "generation", secrets.token_hex(16))
                schema = await client.hget(keys.META, "schema")
            try:
                number = _number(schema)
            except ValueError:
                raise StoreRefused("the store's schema cannot be read: is it a store of zonegate's?") from None
            if number > STORE_SCHEMA:
                raise StoreRefused(_newer(number))
            known = set((listed or b"").decode("utf-8", "replace").split())
            if known and not known & set(self._peppers):
                msg = (
                    f"store.pepper: the store was used with the peppers {', '.join(sorted(known))}, "
                    "and none of these is set: set one of them again"
                )
                raise StoreRefused(msg)
            if missing := set(self._peppers) - known:
                await client.hset(keys.META, "peppers", " ".join(sorted(known | missing)))
            if number < STORE_SCHEMA:
                await migrate(clients, number)
        self._prepared = True

    async def _ready(self) -> None:
        if not self._prepared:
            try:
                await self.prepare()
            except StoreRefused as refused:
                raise StoreUnavailable(str(refused)) from refused

    async def concerns(self) -> list[str]:
        """What is dangerous about the server as it is set up, each with the remedy. A server that does not tell (its
        user may not ask) gives none. Raises StoreUnavailable.
        """
        evicts = await self.eviction()
        found = [] if evicts is None else [evicts]
        if self.primary.replicated and not self._write_replicas:
            found.append("store.write_replicas is 0: a failover may undo the last changes, revocations too; set 1")
        if self.primary.replicated and await self._configured("min-replicas-to-write") == "0":
            found.append(
                "the server's min-replicas-to-write is 0: a primary that was cut off goes on taking changes, "
                "which are lost later; set 1, and min-replicas-max-lag 2"
            )
        return found

    async def eviction(self) -> str | None:
        """The first of `concerns`, if it is one: the server may drop tokens. Raises StoreUnavailable."""
        policy = await self._configured("maxmemory-policy")
        if policy in (None, "noeviction"):
            return None
        return f"the server's maxmemory-policy is {policy}: it may drop tokens; set noeviction"

    async def _configured(self, name: str) -> str | None:
        """A setting of the server; None when it does not tell."""
        async with self.using() as clients:
            reader: Any = clients.reader
            try:
                answer = await reader.config_get(name)
            except ResponseError:
                return None
        value = answer.get(name)
        return value.decode() if isinstance(value, bytes) else value

    async def meta(self, clients: Clients) -> Meta:
        """What the store says of itself now, out of `clients`. Raises StoreUnavailable, also when it takes no writes.

        `DEL` of a key that is never there writes nothing, yet is refused as each write is: by a replica, and by a
        primary that its replicas have left. Both go on to answer reads and PING, and to publish. One whose disk is
        full says that (MISCONF) instead of either: with replicas it is not known then what it is.
        """
        alone = not (self.primary.replicated or self._write_replicas)
        async with mapped():
            pipe: Any = clients.guard.pipeline(transaction=False)
            pipe.get(keys.SEQUENCE)
            pipe.hmget(keys.META, ["generation", "frozen", "schema"])
            pipe.delete(keys.PROBE)
            replies = await pipe.execute(raise_on_error=False)
            _raise_first(reply for reply in replies if not (alone and says_disk_full(reply)))
            sequence, (generation, frozen, schema), *_ = replies
            meta = Meta(
                generation.decode("utf-8", "replace") if generation else None,
                frozen.decode("utf-8", "replace") if frozen is not None else None,
                _number(sequence or b"0"),
            )
            found = None if schema is None else _number(schema)
        if found is not None and found > STORE_SCHEMA:
            raise StoreUnavailable(_newer(found))
        return meta

    async def get(self, token_id: str) -> Record | None:
        """See `TokenStore.get`."""
        await self._ready()
        async with self.using() as clients:
            (found,) = await self._read(clients.reader, [token_id])
        if isinstance(found, StoreUnavailable):
            raise found
        if found is None:
            return None
        token, raw, owner_raw = found
        owner = decode_owner(owner_raw, token.owner) if owner_raw is not None else owner_without_record(token.owner)
        return Record(token=token, owner=owner, raw=raw)

    async def read(self, token_ids: Sequence[str]) -> list[tuple[Token, bytes, bytes | None] | StoreUnavailable | None]:
        """For each id: the token, its document and its owner's document (None: gone); None for an unknown id.

        One that cannot be read is an error in its place: the others are none the worse for it. Raises
        StoreUnavailable when nothing was read.
        """
        await self._ready()
        async with self.using() as clients:
            return await self._read(clients.guard, token_ids)

    async def _read(
        self,
        client: Any,  # noqa: ANN401 - redis-py's types are generic in its settings
        token_ids: Sequence[str],
    ) -> list[tuple[Token, bytes, bytes | None] | StoreUnavailable | None]:
        found: list[Token | StoreUnavailable | None] = []
        raws: list[bytes | None] = await client.mget([keys.token_key(token_id) for token_id in token_ids])
        for token_id, raw in zip(token_ids, raws, strict=True):
            try:
                found.append(None if raw is None else decode_token(raw, token_id))
            except StoreUnavailable as error:
                found.append(error)
        owners = list({token.owner.key for token in found if isinstance(token, Token)})
        documents = await client.mget([keys.owner_key(owner) for owner in owners]) if owners else []
        owner_raws = dict(zip(owners, documents, strict=True))
        return [
            (token, raw or b"", owner_raws[token.owner.key]) if isinstance(token, Token) else token
            for token, raw in zip(found, raws, strict=True)
        ]

    async def page(  # noqa: PLR0913 - see `TokenStore.page`
        self, owner: OwnerRef, *, start: int, count: int, descending: bool, include_expired: bool, now: float
    ) -> Page:
        """See `TokenStore.page`."""
        await self._ready()
        name = keys.tokens_key(owner.key) if include_expired else keys.living_key(owner.key)
        if not include_expired:
            await self._sweep(owner, now)
        async with self.using() as clients:
            reader: Any = clients.reader
            total = await reader.zcard(name)
            ids = await reader.zrange(name, start, start + count - 1, desc=descending)
            found = await reader.mget([keys.token_key(token_id.decode()) for token_id in ids]) if ids else []
        return Page(tuple(decode(raw, Token) for raw in found if raw is not None), total)

    async def _sweep(self, owner: OwnerRef, now: float) -> None:
        """Take what has expired out of the owner's living: once for each token, whoever lists first."""
        names = [keys.living_key(owner.key), keys.ends_key(owner.key)]
        async with self.using() as clients:
            reader: Any = clients.reader
            if not await reader.zcount(names[1], "-inf", now):
                return
            while await reader.eval(scripts.SWEEP, 2, *names, now, _SWEPT_AT_ONCE) == _SWEPT_AT_ONCE:
                pass

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
        await self._change(
            scripts.CHANGE,
            (f"token:{token.id}",),
            _token_keys(token),
            [*_token_arguments(token, now), raw, old.raw if old else b""],
            _entry(action, by, token.id, before=old.token if old else None, after=new),
            now,
        )
        return raw

    async def issued_by(self, makers: Collection[str]) -> AsyncGenerator[Record, None]:
        """See `TokenStore.issued_by`. It goes through all tokens of the store, a batch at a time: nothing lists them by
        their makers. Without their owners; one that cannot be read is passed over: it lets nobody in.
        """
        await self._ready()
        cursor = 0
        while True:
            async with self.using() as clients:
                client: Any = clients.writer  # whose time limit is the longer one
                cursor, names = await client.scan(cursor, match=keys.token_key("*"), count=_SWEPT_AT_ONCE)
                raws = await client.mget(names) if names else []
            found = []
            for raw in raws:
                with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    made = _made.decode(raw or b"")
                    found += [made.id] if made.issued_by in makers else []
            for each in await self.read(found) if found else ():
                if each is not None and not isinstance(each, StoreUnavailable):
                    token, raw, _ = each
                    if token.issued_by in makers:  # not rolled by somebody else meanwhile
                        yield Record(token=token, owner=None, raw=raw)
            if cursor == 0:
                return

    async def initialise(self, owner: Owner, token: Token, now: float) -> None:
        """See `TokenStore.initialise`."""
        await self._initialise(owner, token, Action.INIT, now)

    async def recover(self, owner: Owner, token: Token, now: float) -> None:
        """Store `owner` anew, and one more token of it."""
        await self._initialise(owner, token, Action.RECOVER, now)

    async def create_owner(self, owner: Owner, token: Token, by: Actor, now: float) -> None:
        """Store a new owner beside those that are there, and its first token. Raises Conflict if its id is taken."""
        await self._initialise(owner, token, Action.OWNER_CREATE, now, by)

    async def first_owner(self) -> OwnerRef | None:
        """The owner that `init` made: the first user that there is; without one the first account, or None."""
        await self._ready()
        found: list[OwnerRef] = []
        async with self.using() as clients:
            reader: Any = clients.reader
            while names := await reader.zrange(keys.OWNERS, len(found), len(found) + _OWNERS_AT_ONCE - 1):
                found += [_owner_ref(name) for name in names]
                for ref in found[-len(names) :]:
                    if ref.kind is OwnerKind.USER:
                        return ref
        return found[0] if found else None

    async def owners(self, *, start: int, count: int, descending: bool) -> OwnerPage:
        """Owners `start` to `start + count`, oldest first, or newest first. Raises StoreUnavailable."""
        await self._ready()
        async with self.using() as clients:
            reader: Any = clients.reader
            total = await reader.zcard(keys.OWNERS)
            names = await reader.zrange(keys.OWNERS, start, start + count - 1, desc=descending)
            found = await reader.mget([keys.owner_key(name.decode()) for name in names]) if names else []
        return OwnerPage(tuple(decode(raw, Owner) for raw in found if raw is not None), total)

    async def _initialise(
        self, owner: Owner, token: Token, action: Action, now: float, by: Actor | None = None
    ) -> None:
        by = by or msgspec.structs.replace(_NOBODY, owner=owner.ref.key)
        raw = _encoder.encode(owner)
        entry = {
            **_entry(action, by, token.id, before=None, after=token),
            "owner_before": await self._owner_document(owner.ref),
            "owner_after": raw,
        }
        await self._change(
            scripts.INITIALISE,
            (f"token:{token.id}", f"owner:{owner.ref.key}"),
            [*_token_keys(token), keys.owner_key(owner.ref.key), keys.OWNERS],
            [
                *_token_arguments(token, now),
                _encoder.encode(token),
                raw,
                owner.ref.key,
                _BESIDE.get(action, ""),
            ],
            entry,
            now,
        )

    async def _owner_document(self, ref: OwnerRef) -> bytes:
        """What is stored of the owner, for the audit; b"" when it is nothing that can be read."""
        await self._ready()
        # A key of another kind must not stop a recovery; a store that is away stops it in the change itself.
        with suppress(StoreUnavailable):
            async with self.using() as clients:
                reader: Any = clients.reader
                return await reader.get(keys.owner_key(ref.key)) or b""
        return b""

    async def get_owner(self, ref: OwnerRef) -> tuple[Owner, bytes] | None:
        """The owner and its document, or None. Raises StoreUnavailable."""
        await self._ready()
        async with self.using() as clients:
            reader: Any = clients.reader
            raw = await reader.get(keys.owner_key(ref.key))
        return (decode_owner(raw, ref), raw) if raw else None

    async def change_owner(  # noqa: PLR0913, PLR0917 - what, in whose place, and who says so
        self, ref: OwnerRef, old: bytes, new: Owner | None, action: Action, by: Actor, now: float
    ) -> bytes:
        """Put `new` (None: nothing) in the place of exactly the document `old` (b"": none), else Conflict; returns the
        new document. All tokens of the owner obey it as they obey a change of their own.
        """
        raw = _encoder.encode(new) if new else b""
        await self._change(
            scripts.CHANGE_OWNER,
            (f"owner:{ref.key}",),
            [keys.owner_key(ref.key), keys.OWNERS],
            [ref.key, int(now * 1_000_000), raw, old],
            _owner_entry(action, by, ref, before=old, after=raw),
            now,
        )
        return raw

    async def change_zone(  # noqa: PLR0913, PLR0917 - what, in whose place, and who says so
        self, zone: str, old: bytes, new: bytes, action: Action, by: Actor, now: float
    ) -> None:
        """Put `new` (b"": nothing) in the place of exactly `old` (b"": none) as the pin of `zone`, else Conflict."""
        await self._change_one(_zone_change(zone, old, new, action, by), now)

    async def import_all(self, documents: Sequence[Imported], now: float) -> list[bool]:
        """Put each document in the place of its `old`, all in one go; says of each whether it was done: its document
        was `old` still. What is in a list already keeps its place there.
        """
        changes = [_import(each, now) for each in documents]
        return [number != 0 for number in await self._change_all(changes, now)]

    async def relist(self, token: Token, raw: bytes, now: float) -> bool:
        """Put `token` into its lists anew, if its document is `raw` still; says whether it was."""
        names = [keys.SEQUENCE, keys.AUDIT, *_token_keys(token)]
        arguments = [*_token_arguments(token, now, token.issued_on * 1_000_000), raw]
        async with self.using(changes=True) as clients:
            writer: Any = clients.writer
            return bool(await writer.eval(scripts.RELIST, len(names), *names, *arguments))

    async def note(self, action: Action, what: Mapping[str, Any], now: float) -> None:
        """Put into the audit what was done to the store as a whole, and changed no document."""
        await self._change(scripts.ENTRY, (), [], [], {**_who(action, _NOBODY, ""), **what}, now)

    async def freeze(self, now: float) -> None:
        """No token works from now on. Raises Conflict when none does already."""
        async with self.using() as clients:
            reader: Any = clients.reader
            if await reader.hexists(keys.META, "frozen"):
                raise Conflict
        await self._change_meta("freeze", "frozen", str(int(now)), Action.FREEZE, now)

    async def thaw(self, now: float) -> None:
        """Tokens work again. Raises Conflict when they do already."""
        await self._change_meta("thaw", "frozen", "", Action.THAW, now)

    async def _change_meta(self, what: str, field: str, value: str, action: Action, now: float) -> None:
        fields = _who(action, _NOBODY, "")
        await self._change(scripts.CHANGE_META, (what,), [keys.META], [field, value], fields, now)

    async def denied(self, what: Denied, by: Actor, now: float) -> None:
        """See `TokenStore.denied`."""
        fields = {
            **_who(Action.DENIED, by, what.token_id),
            "method": what.method,
            "path": what.path,
            "reason": what.reason,
        }
        await self._change_all([_Change(scripts.ENTRY, (), [], [], fields, keys.DENIED_AUDIT)], now)

    async def visited(self, action: Action, by: Actor, now: float) -> None:
        """Put into the audit that somebody signed in to the dashboard, or out. It stands among the refused calls:
        whoever signs in again and again pushes no change out of the audit.
        """
        fields = _who(action, by, by.token_id)
        await self._change_all([_Change(scripts.ENTRY, (), [], [], fields, keys.DENIED_AUDIT)], now)

    async def _change(  # noqa: PLR0913, PLR0917 - a change's parts
        self,
        script: str,
        what: Sequence[str],
        names: Iterable[str],
        arguments: Iterable[Any],
        entry: Mapping[str, Any],
        now: float,
    ) -> None:
        """Run `script`; `what` it changes is told to all, to this process first."""
        await self._change_one(_Change(script, what, names, arguments, entry), now)

    async def _change_one(self, change: "_Change", now: float) -> None:
        if not all(await self._change_all([change], now)):
            raise Conflict

    async def _change_all(self, changes: Sequence["_Change"], now: float) -> list[int]:
        """Run a script for each, in one go; returns their numbers (0: nothing was written)."""
        await self._ready()
        told = [each for change in changes for each in change.what]
        try:
            async with self.using(changes=True) as clients:
                # EVAL, not EVALSHA: a server that was just restarted or promoted has no script by its digest.
                pipe: Any = clients.writer.pipeline(transaction=False)
                for change in changes:
                    names = [keys.SEQUENCE, change.stream, *change.names]
                    pipe.eval(change.script, len(names), *names, *self._common(change, now), *change.arguments)
                if self._write_replicas and told:
                    # On the same connection: WAIT asks about what this connection wrote.
                    pipe.execute_command("WAIT", self._write_replicas, _WAIT_MILLISECONDS)
                replies = await pipe.execute(raise_on_error=False)
                _raise_first(replies)
            replicated = not self._write_replicas or not told or await self._is_replicated(clients, replies[-1])
        finally:
            for each in told:
                if each != "thaw":  # it may have failed, and opens everything: its message tells of it
                    for tell in self.on_change:
                        tell(each)
        numbers: list[int] = replies[: len(changes)]
        if any(numbers) and not replicated:
            raise NotReplicated
        return numbers

    async def _is_replicated(self, clients: Clients, replicas: int) -> bool:
        return replicas >= self._write_replicas and await self.primary.confirms(clients)

    async def trim_audit(self, now: float) -> None:
        """No entry of the audit is older than its `max_age`. Raises StoreUnavailable."""
        oldest = self._oldest(now)
        async with self.using() as clients:
            writer: Any = clients.writer
            for stream in (keys.AUDIT, keys.DENIED_AUDIT):
                # Whole blocks first, a bounded number in each command: what is left to cut exactly is part of one.
                while await writer.xtrim(stream, minid=oldest, approximate=True, limit=_TRIMMED_AT_ONCE):
                    pass
                await writer.xtrim(stream, minid=oldest, approximate=False)

    def _oldest(self, now: float) -> int:
        """Milliseconds since 1970: what came before is too old for the audit."""
        return max(0, int((now - self._audit.max_age) * 1000))

    def _common(self, change: "_Change", now: float) -> list[Any]:
        """What every script's arguments begin with: see `scripts.py`."""
        fields = [part for pair in change.entry.items() for part in pair]
        return [
            self.primary.channel,
            "SPUBLISH" if self.primary.sharded else "PUBLISH",
            " ".join(change.what),
            self._audit.max_entries,
            self._oldest(now),
            len(fields),
            *fields,
        ]

    async def close(self) -> None:
        """Close the connections."""
        await self.primary.close()


def _owner_ref(name: bytes) -> OwnerRef:
    """Who is called so in the list of owners. Raises StoreUnavailable."""
    kind, _, owner_id = name.decode("utf-8", "replace").partition(":")
    try:
        return msgspec.convert({"kind": kind, "id": owner_id}, OwnerRef)
    except msgspec.ValidationError:
        raise StoreUnavailable("the list of owners holds something else") from None


def _number(text: bytes) -> int:
    """`text` as a number that the store counts with. Raises ValueError."""
    if not text.isdigit() or len(text) > LONGEST_NUMBER:
        raise ValueError("not a number of the store's")
    return int(text)


def _newer(schema: int) -> str:
    return f"the store has schema {schema}, this version knows {STORE_SCHEMA}: use a newer zonegate"


def _raise_first(replies: Iterable[Any]) -> None:
    """Raise the first error as the server said it: redis-py itself would put the command before it."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply


def says_disk_full(reply: object) -> bool:
    """Whether `reply` is a refusal because the server cannot write to its disk. It can be read all the same."""
    return isinstance(reply, ResponseError) and str(reply).startswith("MISCONF")


def _token_keys(token: Token) -> list[str]:
    owner = token.owner.key
    return [
        keys.token_key(token.id),
        keys.tokens_key(owner),
        keys.living_key(owner),
        keys.ends_key(owner),
        keys.EXPIRIES,
        keys.use_key(token.id),
    ]


def _token_arguments(token: Token, now: float, place: int | None = None) -> list[Any]:
    place = int(now * 1_000_000) if place is None else place
    return [token.id, place, "" if token.expires_on is None else token.expires_on, now]


def _import(imported: Imported, now: float) -> _Change:
    match imported.document:
        case Token() as token:
            return _import_token(imported, token, now)
        case Owner() as owner:
            return _import_owner(imported, owner)
        case ZonePin() as pin:
            return _zone_change(pin.key, imported.old, imported.raw, Action.IMPORT, _NOBODY)


def _zone_change(zone: str, old: bytes, new: bytes, action: Action, by: Actor) -> _Change:
    return _Change(
        scripts.CHANGE_DOCUMENT,
        (f"zone:{zone}",),
        [keys.zone_key(zone)],
        [new, old],
        {**_who(action, by, ""), "zone": zone, "before": old, "after": new},
    )


def _import_token(imported: Imported, token: Token, now: float) -> _Change:
    before = None
    with suppress(StoreUnavailable):  # what cannot be read may be replaced too
        before = decode_token(imported.old, token.id)
    return _Change(
        scripts.CHANGE,
        (f"token:{token.id}",),
        _token_keys(token),
        [*_token_arguments(token, now, imported.place), imported.raw, imported.old],
        _entry(Action.IMPORT, _NOBODY, token.id, before=before, after=token),
    )


def _import_owner(imported: Imported, owner: Owner) -> _Change:
    return _Change(
        scripts.CHANGE_OWNER,
        (f"owner:{owner.ref.key}",),
        [keys.owner_key(owner.ref.key), keys.OWNERS],
        [owner.ref.key, imported.place, imported.raw, imported.old],
        _owner_entry(Action.IMPORT, _NOBODY, owner.ref, before=imported.old, after=imported.raw),
    )


def _who(action: Action, by: Actor, token_id: str) -> dict[str, Any]:
    return {
        "action": action,
        "token": token_id,
        "actor_token": by.token_id,
        "actor_owner": by.owner,
        "address": by.address,
        "request_id": by.request_id,
    }


def _entry(action: Action, by: Actor, token_id: str, *, before: Token | None, after: Token | None) -> dict[str, Any]:
    """An audit entry. Digests are left out: whoever reads the audit need not see them."""
    return {**_who(action, by, token_id), "before": _without_digests(before), "after": _without_digests(after)}


def _owner_entry(action: Action, by: Actor, ref: OwnerRef, *, before: bytes, after: bytes) -> dict[str, Any]:
    return {**_who(action, by, ""), "owner": ref.key, "before": before, "after": after}


def _without_digests(token: Token | None) -> bytes:
    return _encoder.encode(msgspec.structs.replace(token, digests=())) if token else b""
