"""Whether the lists of the store say what the documents say, and how they are made to say it again.

The documents alone decide; a list that disagrees hides a token from its owner, or shows one that is not there. Only
lists are mended, never a document. The store may be in use: what looks wrong is looked at once more in a script, and
mended in a script that goes on only if the document is what it was.
"""

import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec
from redis.exceptions import ResponseError

from gateway.access.ports import Action, StoreUnavailable
from gateway.store import keys
from gateway.store.redis_store import RedisStore, decode_owner, decode_pin, decode_token
from gateway.tokens.grammar import Grammar
from gateway.tokens.owner import OwnerRef
from gateway.tokens.token import Token

MOST_TOLD: Final = 1000
"""Findings that are told; the rest is counted."""
_AT_ONCE: Final = 250
_CLOCKS: Final = 60
"""Seconds by which another process's clock may be ahead: it may see a token as expired that is not yet by ours."""


class Kind(StrEnum):
    """What a key holds, by the beginning of its name."""

    TOKEN = keys.token_key("")
    USE = keys.use_key("")
    TOKENS = keys.tokens_key("")
    LIVING = keys.living_key("")
    ENDS = keys.ends_key("")
    OWNER = keys.owner_key("")
    ZONE = keys.zone_key("")
    EXPIRIES = keys.EXPIRIES
    OWNERS = keys.OWNERS
    AUDIT = keys.AUDIT
    DENIED_AUDIT = keys.DENIED_AUDIT
    SEQUENCE = keys.SEQUENCE
    META = keys.META


_TYPES: Final = {
    Kind.TOKEN: "string",
    Kind.USE: "hash",
    Kind.TOKENS: "zset",
    Kind.LIVING: "zset",
    Kind.ENDS: "zset",
    Kind.OWNER: "string",
    Kind.ZONE: "string",
    Kind.EXPIRIES: "zset",
    Kind.OWNERS: "zset",
    Kind.AUDIT: "stream",
    Kind.DENIED_AUDIT: "stream",
    Kind.SEQUENCE: "string",
    Kind.META: "hash",
}

# KEYS  1 document, 2... lists
# ARGV  1 what they hold, 2 the document as it was read ("" = not there), 3 "mend" or ""
# Returns in how many of the lists it is, taken out if asked; 0 when the document is another one.
_STRAY: Final = """
local found = redis.pcall('GET', KEYS[1])
if type(found) == 'table' or (found or '') ~= ARGV[2] then return 0 end
local count = 0
for place = 2, #KEYS do
  local score = redis.pcall('ZSCORE', KEYS[place], ARGV[1])
  if type(score) == 'string' then
    count = count + 1
    if ARGV[3] == 'mend' then redis.call('ZREM', KEYS[place], ARGV[1]) end
  end
end
return count
"""

# KEYS  1 document, 2... lists
# ARGV  1 token id, 2 the document as it was read
# Returns the scores in the lists ("" = not there), nothing when the document is another one.
_SCORES: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[2] then return {} end
local scores = {}
for place = 2, #KEYS do scores[place - 1] = redis.call('ZSCORE', KEYS[place], ARGV[1]) or '' end
return scores
"""

# KEYS  1 owner's document, 2 owners
# ARGV  1 the owner, 2 the document as it was read, 3 microseconds, 4 "mend" or ""
# Returns 1 if the owner is not in the list, put in if asked. (What is no list answers with an error, which is true.)
_UNLISTED: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[2] or redis.pcall('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
if ARGV[4] == 'mend' then redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1]) end
return 1
"""

# KEYS  1 document, 2 use
# ARGV  1 "mend" or ""
# Returns 1 if there is a use without a document, deleted if asked.
_UNUSED: Final = """
if redis.call('EXISTS', KEYS[1]) == 1 or redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
if ARGV[1] == 'mend' then redis.call('DEL', KEYS[2]) end
return 1
"""


class Scores(msgspec.Struct, frozen=True):
    """Where a token stands in its lists; None: not there."""

    tokens: float | None
    living: float | None
    ends: float | None
    expiries: float | None


class Finding(msgspec.Struct, frozen=True):
    """A disagreement."""

    key: str
    fault: str
    mended: bool


class Report(msgspec.Struct, frozen=True):
    """What was found. `findings`: the first `MOST_TOLD` of `found`."""

    tokens: int
    owners: int
    found: int
    mended: int
    findings: tuple[Finding, ...]

    @property
    def consistent(self) -> bool:
        """Whether nothing is wrong now."""
        return self.found == self.mended


Progress = Callable[[int, int], None]
"""Told how much was looked at, and of how much."""


def faults(token: Token, scores: Scores, now: float) -> list[str]:
    """In which way the lists are not as `put` (`scripts.py`) leaves them for `token`."""
    owner = token.owner.key
    tokens, living, ends = keys.tokens_key(owner), keys.living_key(owner), keys.ends_key(owner)
    expired = token.expires_on is not None and token.expires_on <= now + _CLOCKS
    found = []
    if scores.tokens is None:
        found.append(f"is not in {tokens}")
    elif not math.isfinite(scores.tokens):
        found.append(f"has no place in {tokens}")
    if scores.living is None:
        # One that has expired leaves the list when somebody looks at it, and not before.
        found += [] if expired else [f"is not in {living}"]
    elif scores.tokens is not None and math.isfinite(scores.tokens) and scores.living != scores.tokens:
        found.append(f"has another place in {living} than in {tokens}")
    listed = scores.living is not None or not expired
    found += _end_faults(ends, scores.ends, token.expires_on if listed else None)
    return found + _end_faults(keys.EXPIRIES, scores.expiries, token.expires_on)


def _end_faults(name: str, score: float | None, end: int | None) -> list[str]:
    if score == end:
        return []
    if score is None:
        return [f"is not in {name}"]
    return [f"should not be in {name}"] if end is None else [f"has another end in {name} than its own"]


async def check(
    store: RedisStore, *, repair: bool, clock: Callable[[], float], progress: Progress = lambda _, __: None
) -> Report:
    """What disagrees in `store`, mended if `repair`. Raises StoreUnavailable.

    It holds a batch of documents at a time, however many there are.
    """
    async with store.using() as clients:
        walk = _Walk(store, clients.writer, clock, progress, repair=repair)
        try:
            await walk.run()
        finally:
            if walk.mended:
                counts = msgspec.json.encode({"found": walk.found, "mended": walk.mended})
                await store.note(Action.REPAIR, {"after": counts}, clock())
        return walk.report()


class _Walk:
    """One walk over all keys."""

    def __init__(
        self,
        store: RedisStore,
        client: Any,  # noqa: ANN401 - redis-py's types are generic in its settings
        clock: Callable[[], float],
        progress: Progress,
        *,
        repair: bool,
    ) -> None:
        self._store = store
        self._client = client
        self._clock = clock
        self._progress = progress
        self._repair = repair
        self._mend = "mend" if repair else ""
        self._seen = {Kind.TOKEN: 0, Kind.OWNER: 0}
        self._done = 0
        self._all = 0
        self._findings: dict[tuple[str, str], Finding] = {}
        self.found = 0
        self.mended = 0

    def report(self) -> Report:
        return Report(
            tokens=self._seen[Kind.TOKEN],
            owners=self._seen[Kind.OWNER],
            found=self.found,
            mended=self.mended,
            findings=tuple(self._findings.values()),
        )

    async def run(self) -> None:
        self._all = await self._client.dbsize()
        cursor = 0
        while True:
            cursor, names = await self._client.scan(cursor, match=f"{keys.TAG}:*", count=_AT_ONCE)
            await self._look_at(names)
            self._advance(len(names))
            if cursor == 0:
                break
        self._progress(self._all, self._all)

    def _advance(self, count: int) -> None:
        self._done += count
        self._progress(min(self._done, self._all), self._all)

    def _tell(self, key: bytes, fault: str, *, mended: bool = False) -> None:
        finding = Finding(_text(key), fault, mended)
        if (finding.key, fault) in self._findings:
            return  # SCAN may show a key twice
        self.found += 1
        self.mended += mended
        if len(self._findings) < MOST_TOLD:
            self._findings[finding.key, fault] = finding

    async def _look_at(self, names: Sequence[bytes]) -> None:
        pipe = self._client.pipeline(transaction=False)
        for name in names:
            pipe.type(name)
        found: dict[Kind, list[bytes]] = {kind: [] for kind in Kind}
        for name, type_ in zip(names, await pipe.execute(), strict=True):
            kind = _kind(name)
            if kind is None or type_ == b"none":
                continue
            if type_.decode() != _TYPES[kind]:
                self._tell(name, f"is a {type_.decode()}, and should be a {_TYPES[kind]}")
            else:
                found[kind].append(name)
        await self._tokens(found[Kind.TOKEN])
        await self._owners(found[Kind.OWNER])
        await self._zones(found[Kind.ZONE])
        await self._uses(found[Kind.USE])
        for kind in (Kind.TOKENS, Kind.LIVING, Kind.ENDS, Kind.EXPIRIES, Kind.OWNERS):
            for name in found[kind]:
                await self._list(kind, name)
        for name in found[Kind.SEQUENCE]:
            if not (await self._client.get(name) or b"0").isdigit():
                self._tell(name, "is not a number")

    # Documents.

    async def _tokens(self, names: Sequence[bytes]) -> None:
        documents: list[tuple[Token, bytes]] = []
        for name, raw in zip(names, await self._read(names), strict=True):
            if raw is None:
                continue
            self._seen[Kind.TOKEN] += 1
            token_id = _rest(name, Kind.TOKEN)
            if not Grammar.ID.accepts(token_id):
                self._tell(name, "its name holds no token's id")
                continue
            try:
                documents.append((decode_token(raw, token_id.decode()), raw))
            except StoreUnavailable as error:
                self._tell(name, str(error))
        now = self._clock()
        for (token, raw), scores in zip(documents, await self._scores(documents), strict=True):
            if scores is not None and faults(token, scores, now):
                await self._mend_token(token, raw)

    async def _scores(self, documents: Sequence[tuple[Token, bytes]]) -> list[Scores | None]:
        """Where each stands, by few commands, and so not all at one moment; None where a list is none."""
        by_owner: dict[str, list[str]] = {}
        for token, _ in documents:
            by_owner.setdefault(token.owner.key, []).append(token.id)
        pipe = self._client.pipeline(transaction=False)
        for owner, ids in by_owner.items():
            for name in (keys.tokens_key(owner), keys.living_key(owner), keys.ends_key(owner), keys.EXPIRIES):
                pipe.zmscore(name, ids)
        replies = iter(await pipe.execute(raise_on_error=False))
        found: dict[str, Scores] = {}
        for ids in by_owner.values():
            columns = [next(replies) for _ in msgspec.structs.fields(Scores)]
            if any(isinstance(column, ResponseError) for column in columns):
                continue  # a key of the wrong type, which is told of by itself
            found |= {token_id: Scores(*row) for token_id, row in zip(ids, zip(*columns, strict=True), strict=True)}
        return [found.get(token.id) for token, _ in documents]

    async def _mend_token(self, token: Token, raw: bytes) -> None:
        owner = token.owner.key
        names = [keys.tokens_key(owner), keys.living_key(owner), keys.ends_key(owner), keys.EXPIRIES]
        documents = keys.token_key(token.id)
        row = await self._client.eval(_SCORES, 5, documents, *names, token.id, raw)
        if not row:
            return  # it was changed meanwhile, and with it its lists
        now = self._clock()
        found = faults(token, Scores(*(float(score) if score else None for score in row)), now)
        mended = bool(found) and self._repair and await self._store.relist(token, raw, now)
        for fault in found:
            self._tell(documents.encode(), fault, mended=mended)

    async def _owners(self, names: Sequence[bytes]) -> None:
        for name, raw in zip(names, await self._read(names), strict=True):
            if raw is None:
                continue
            self._seen[Kind.OWNER] += 1
            owner = _rest(name, Kind.OWNER)
            try:
                document = decode_owner(raw, _ref(owner))
            except StoreUnavailable as error:
                self._tell(name, str(error))
                continue
            place = document.issued_on * 1_000_000
            if await self._script(_UNLISTED, [name, keys.OWNERS], [owner, raw, place, self._mend]):
                self._tell(name, f"is not in {keys.OWNERS}", mended=self._repair)

    async def _zones(self, names: Sequence[bytes]) -> None:
        for name, raw in zip(names, await self._read(names), strict=True):
            if raw is None:
                continue
            try:
                decode_pin(raw, _text(_rest(name, Kind.ZONE)))
            except StoreUnavailable as error:
                self._tell(name, str(error))

    async def _uses(self, names: Sequence[bytes]) -> None:
        pipe = self._client.pipeline(transaction=False)
        for name in names:
            pipe.exists(_token_key(_rest(name, Kind.USE)))
        for name, exists in zip(names, await pipe.execute() if names else [], strict=True):
            if not exists and await self._script(_UNUSED, [_token_key(_rest(name, Kind.USE)), name], [self._mend]):
                self._tell(name, "is the use of a token that is not there", mended=self._repair)

    # Lists.

    async def _list(self, kind: Kind, name: bytes) -> None:
        self._all += await self._client.zcard(name)
        async for members in self._members(name):
            await self._strays(kind, name, members)
            self._advance(len(members))

    async def _members(self, name: bytes) -> AsyncIterator[list[bytes]]:
        cursor = 0
        while True:
            cursor, pairs = await self._client.zscan(name, cursor, count=_AT_ONCE)
            for start in range(0, len(pairs), _AT_ONCE):
                yield [member for member, _ in pairs[start : start + _AT_ONCE]]
            if cursor == 0:
                return

    async def _strays(self, kind: Kind, name: bytes, members: Sequence[bytes]) -> None:
        """Tell of `members` of the list `name` that should be in none."""
        owner = _rest(name, kind)
        if kind in _WITHIN:
            # What is in the longer list too is looked at there.
            members = await self._lacking(_WITHIN[kind].encode() + owner, members)
        of_owner = kind in _OF_OWNER
        document_key = _owner_key if kind is Kind.OWNERS else _token_key
        lists = [each.encode() + owner for each in _OF_OWNER] if of_owner else [name]
        documents = await self._read([document_key(member) for member in members])
        for member, raw in zip(members, documents, strict=True):
            wrong = lists
            if raw is None:
                fault = f"holds {_text(member)}, which has no document"
                wrong = [*lists, keys.EXPIRIES.encode()] if of_owner else lists
            elif of_owner and (of := _owner_of(raw)) not in {None, _text(owner)}:
                fault = f"holds {_text(member)}, which is a token of {of}"
            else:
                continue
            if await self._script(_STRAY, [document_key(member), *wrong], [member, raw or b"", self._mend]):
                self._tell(name, fault, mended=self._repair)

    async def _lacking(self, name: bytes, members: Sequence[bytes]) -> Sequence[bytes]:
        """Of `members` those that the list `name` lacks; all, if it is no list."""
        try:
            scores = await self._client.zmscore(name, members)
        except ResponseError:
            return members
        return [member for member, score in zip(members, scores, strict=True) if score is None]

    # Commands.

    async def _read(self, names: Sequence[bytes]) -> Sequence[bytes | None]:
        return await self._client.mget(names) if names else ()

    async def _script(self, script: str, names: Iterable[bytes | str], arguments: Iterable[bytes | str | int]) -> bool:
        names = list(names)
        return bool(await self._client.eval(script, len(names), *names, *arguments))


_OF_OWNER: Final = (Kind.TOKENS, Kind.LIVING, Kind.ENDS)
_WITHIN: Final[Mapping[Kind, Kind]] = {Kind.LIVING: Kind.TOKENS, Kind.ENDS: Kind.LIVING}


class _OwnerOnly(msgspec.Struct, frozen=True):
    owner: OwnerRef


_owner_only: Final = msgspec.json.Decoder(_OwnerOnly)


def _owner_of(raw: bytes) -> str | None:
    """Whose token a document is; None when it cannot be read, which is told of by itself."""
    try:
        return _owner_only.decode(raw).owner.key
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _ref(owner: bytes) -> OwnerRef:
    kind, _, owner_id = _text(owner).partition(":")
    try:
        return msgspec.convert({"kind": kind, "id": owner_id}, OwnerRef)
    except msgspec.ValidationError:
        raise StoreUnavailable("its name holds no owner") from None


def _kind(name: bytes) -> Kind | None:
    """What the key should hold; None for one that is none of those that are checked."""
    for kind in Kind:
        prefix = kind.encode()
        if name == prefix or (prefix.endswith(b":") and name.startswith(prefix)):
            return kind
    return None


def _rest(name: bytes, kind: Kind) -> bytes:
    return name.removeprefix(kind.encode())


def _token_key(token_id: bytes) -> bytes:
    return Kind.TOKEN.encode() + token_id


def _owner_key(owner: bytes) -> bytes:
    return Kind.OWNER.encode() + owner


def _text(name: bytes) -> str:
    """For people: what no name of ours holds is escaped."""
    return name.decode("utf-8", "backslashreplace")
