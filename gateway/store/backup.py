"""A copy of the documents in one file, and the way back (DESIGN 9: `zonegate store export` and `import`).

JSON lines: a header, a line for each owner and each token, then for each pinned zone, and an end with the counts and
the SHA-256 of all lines before it. A token's place in its owner's list is kept, in microseconds. Documents hold
digests, never secrets. Not in it: audit, use, freeze, and the number of changes, which belong to the one store.

The store may be in use: what is copied is each document as it was when its turn came, not the store at one moment.
"""

import contextlib
import fcntl
import hashlib
import math
import os
import stat
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from gateway.access.compiled import compile_owner, compile_token
from gateway.access.ports import StoreUnavailable
from gateway.store import keys
from gateway.store.redis_store import Imported, RedisStore, decode, decode_owner, decode_pin, decode_token
from gateway.store.schema import STORE_SCHEMA
from gateway.store.zone_pin import ZonePin
from gateway.tokens.grammar import Grammar
from gateway.tokens.owner import Owner, OwnerRef
from gateway.tokens.permission_group import PermissionGroups
from gateway.tokens.token import Token
from gateway.tokens.validation import validate_token

FORMAT: Final = "zonegate-store"
VERSION: Final = 2
MOST_TOLD: Final = 1000
"""Documents that are told by name; the rest is counted."""
_AT_ONCE: Final = 250
_LONGEST_LINE: Final = 4 * 1024 * 1024
_MICROSECONDS: Final = 1_000_000
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises: the last one for too many brackets in each other."""

Progress = Callable[[int, int], None]
"""Told how much was done, and of how much."""


class BackupError(Exception):
    """The file cannot be used. One line: which, where, and what is wrong."""


# The lines. Rule of change: add at the end, with a default; raise VERSION when an older reader would misread.


class Header(msgspec.Struct, frozen=True):
    """The first line. `peppers`: public names of all with which digests may have been made."""

    format: Literal["zonegate-store"]
    version: int
    schema: int
    created: str
    peppers: tuple[str, ...] = ()


Place = Annotated[int, Meta(ge=0, lt=2**53)]
"""Microseconds, as a double can say them: scores are doubles."""


class OwnerLine(msgspec.Struct, frozen=True, tag_field="kind", tag="owner"):
    """An owner."""

    place: Place
    document: msgspec.Raw


class TokenLine(msgspec.Struct, frozen=True, tag_field="kind", tag="token"):
    """A token, behind its owner if that has a document."""

    place: Place
    document: msgspec.Raw


class ZoneLine(msgspec.Struct, frozen=True, tag_field="kind", tag="zone"):
    """A zone's pin (since version 2): behind all tokens."""

    document: msgspec.Raw


class End(msgspec.Struct, frozen=True, tag_field="kind", tag="end"):
    """The last line."""

    owners: int
    tokens: int
    sha256: str
    zones: int = 0


_BEGINNING: Final = f'{{"format":"{FORMAT}"'.encode()
"""Of each file that we write."""
_NO_BACKUP: Final = "not a file of `zonegate store export`"
_encoder: Final = msgspec.json.Encoder()
_header: Final = msgspec.json.Decoder(Header)
_line: Final = msgspec.json.Decoder(OwnerLine | TokenLine | ZoneLine | End)


def _encode(line: Header | OwnerLine | TokenLine | ZoneLine | End) -> bytes:
    return _encoder.encode(line) + b"\n"


# Export.


class Exported(msgspec.Struct, frozen=True):
    """What is in the file now. `resumed`: how many of the lines an earlier run has written.

    `left_out`: what could not be copied, by key and fault, at most `MOST_TOLD`. `seen`: documents of tokens that the
    store had when all was written; more than were written, if some were made meanwhile, or stand in no list.
    """

    owners: int
    tokens: int
    resumed: int
    seen: int
    left_out: tuple[str, ...]
    zones: int = 0


class _Last(msgspec.Struct, frozen=True):
    """The last token that was written. `listed`: behind a line of its owner."""

    owner: str
    place: int
    token_id: str
    listed: bool


class _NotWrittenError(Exception):
    """The file's own error, so that it is not taken for one of the store's."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class _Output:
    """Lines as they are written, and what has to be known to go on behind them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.begun = False
        self.owners = 0
        self.tokens = 0
        self.zones = 0
        self.first_owner: tuple[float, bytes] | None = None
        self.last_owner: tuple[float, bytes] | None = None
        """Place and owner of the last line of an owner."""
        self.last: _Last | None = None
        """None behind a line of an owner."""

    def header(self, header: Header) -> None:
        self._write(_encode(header))

    def owner(self, owner: Owner, place: int, raw: bytes) -> None:
        self._write(_encode(OwnerLine(place, _one_line(raw))))
        self._count(owner, place)

    def token(self, token: Token, place: int, raw: bytes) -> None:
        self._write(_encode(TokenLine(place, _one_line(raw))))
        self._count(token, place)

    def zone(self, raw: bytes) -> None:
        self._write(_encode(ZoneLine(_one_line(raw))))
        self.zones += 1

    def end(self) -> None:
        self._write(_encode(End(self.owners, self.tokens, self._sha256.hexdigest(), self.zones)))
        self.flush()

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            raise _NotWrittenError(error) from error

    def _write(self, line: bytes) -> None:
        try:
            self._file.write(line)
        except OSError as error:
            raise _NotWrittenError(error) from error
        self._sha256.update(line)

    def _count(self, document: Token | Owner, place: int) -> None:
        if isinstance(document, Owner):
            self.owners += 1
            self.last_owner = (float(place), document.ref.key.encode())
            self.first_owner = self.first_owner or self.last_owner
            self.last = None
            return
        self.tokens += 1
        owner = document.owner.key
        behind = self.last_owner is not None and self.last_owner[1] == owner.encode()
        self.last = _Last(owner, place, document.id, behind and (self.last is None or self.last.listed))

    def resume(self) -> None:
        """Go on behind the last whole line of what an earlier run left. Raises BackupError for another format."""
        self._file.seek(0)
        if not _BEGINNING.startswith(self._file.read(len(_BEGINNING))):
            raise BackupError(_NO_BACKUP)  # it is somebody else's, and may hold no line end at all: it is not cut off
        whole = 0
        for number, line in enumerate(_whole_lines(self._file)):
            if number == 0:
                _read_header(line)
                self.begun = True
            else:
                try:
                    found = _read_line(line)
                except BackupError:
                    break
                if isinstance(found, End) or isinstance(found[0], ZonePin):
                    break  # zones are few, and in no order to go on in
                self._count(found[0], found[1])
            self._sha256.update(line)
            whole += len(line)
        self._file.seek(whole)
        self._file.truncate()


def _whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while (line := file.readline(_LONGEST_LINE)).endswith(b"\n"):
        yield line


def _one_line(raw: bytes) -> msgspec.Raw:
    """The document as it is, unless it was written by hand in several lines."""
    if b"\n" in raw or b"\r" in raw:
        raw = _encoder.encode(msgspec.json.decode(raw))
    return msgspec.Raw(raw)


@contextlib.contextmanager
def writing(path: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """A file to export to, for us alone, that has the name `path` when it is left without an error.

    Until then it is called `path.part`, and is given again, with what was written, the next time. Raises BackupError,
    OSError.
    """
    part = path.with_name(path.name + ".part")
    descriptor = _locked(path, part, force=force)
    with os.fdopen(descriptor, "r+b") as file:
        os.fchmod(descriptor, 0o600)
        try:
            yield file
        except BackupError as error:
            raise BackupError(f"{part}: {error}: remove it to begin anew") from None
        file.flush()
        os.fsync(descriptor)
        _check_free(path, force=force)
        part.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)  # it is known by its name from now on
    finally:
        os.close(directory)


def _locked(path: Path, part: Path, *, force: bool) -> int:
    """The file `part`, open, which no other export has until it is closed."""
    while True:
        _check_free(path, force=force)
        with contextlib.ExitStack() as undo:
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            undo.callback(os.close, descriptor)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise BackupError(f"{part}: not a regular file")
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BackupError(f"{part}: another export writes it") from None
            if _is_called(descriptor, part):
                undo.pop_all()
                return descriptor
        # Another export was done with it between our opening and our locking: it is the finished file by now.


def _is_called(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _check_free(path: Path, *, force: bool) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):  # a link too: what it leads to may be a device
        raise BackupError(f"{path}: not a regular file; - is standard output")
    if not force:
        raise BackupError(f"{path}: is there already: --force puts another in its place")


async def export(
    store: RedisStore,
    file: IO[bytes],
    *,
    created: str,
    resume: bool = False,
    progress: Progress = lambda _, __: None,
) -> Exported:
    """The documents of `store` are written to `file`, behind the last whole line in it if `resume`.

    `created`: the moment, for the header. Raises StoreUnavailable, OSError, and BackupError for a file of another kind.
    """
    output = _Output(file)
    if resume:
        output.resume()
    resumed = output.owners + output.tokens
    try:
        async with store.using() as clients:
            walk = _Export(clients.writer, output, progress)
            if not output.begun:
                output.header(await walk.header(created))
            elif not await walk.is_of_this_store():
                raise BackupError("was begun with another store")
            await walk.run()
    except _NotWrittenError as not_written:
        raise not_written.error from None
    return Exported(output.owners, output.tokens, resumed, walk.seen, tuple(walk.left_out.values()), output.zones)


# KEYS  1 a sorted set
# ARGV  1 the member behind which to begin ("" = at the beginning), 2 its score, 3 how many
# Where that member is gone, it begins with those of the same score.
_NEXT: Final = """
local first = 0
if ARGV[1] ~= '' then
  local rank = redis.call('ZRANK', KEYS[1], ARGV[1])
  first = rank and rank + 1 or redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. ARGV[2])
end
return redis.call('ZRANGE', KEYS[1], first, first + ARGV[3] - 1, 'WITHSCORES')
"""


class _Export:
    """One walk over owners and their tokens, in the order of the lists."""

    def __init__(self, client: Any, output: _Output, progress: Progress) -> None:  # noqa: ANN401 - redis-py's types
        self._client = client
        self._output = output
        self._progress = progress
        self._all = 0
        self.seen = 0
        self.left_out: dict[str, str] = {}

    async def header(self, created: str) -> Header:
        peppers = _text(await self._client.hget(keys.META, "peppers") or b"")
        return Header(FORMAT, VERSION, STORE_SCHEMA, created, tuple(sorted(peppers.split())))

    async def is_of_this_store(self) -> bool:
        """Whether the first owner in the file is one of the store's."""
        if self._output.first_owner is None:
            return True
        place, owner = self._output.first_owner
        return bool(await self._client.zscore(keys.OWNERS, owner) == place)

    async def run(self) -> None:
        self._all = await self._count()
        last = self._output.last
        if last is None or last.listed:
            await self._listed(last)
            last = None
        for owner in await self._unlisted():
            if last is None or owner > last.owner:
                await self._tokens(owner, None)
            elif owner == last.owner:
                await self._tokens(owner, last)
        await self._zones()
        self._output.end()
        self._progress(self._all, self._all)

    async def _count(self) -> int:
        """How many documents the lists say there are."""
        count = 0
        async for entries in self._entries(keys.OWNERS, None):
            pipe = self._client.pipeline(transaction=False)
            for _, owner in entries:
                pipe.zcard(keys.tokens_key(_text(owner)))
            count += len(entries) + sum(await pipe.execute())
        return count

    async def _listed(self, last: _Last | None) -> None:
        """All owners that have a document, each with its tokens behind it."""
        begun = self._output.last_owner
        if begun is not None:
            await self._tokens(_text(begun[1]), last)
        async for entries in self._entries(keys.OWNERS, begun):
            owners = [_text(name) for _, name in entries]
            for (score, _), owner, found in zip(entries, owners, await self._owners(owners), strict=True):
                if found is not None:
                    self._output.owner(found[0], _place(score, found[0]), found[1])
                    await self._tokens(owner, None)

    async def _owners(self, owners: Sequence[str]) -> list[tuple[Owner, bytes] | None]:
        """The document of each, None where there is none that can be read."""
        names = [keys.owner_key(owner) for owner in owners]
        found: list[tuple[Owner, bytes] | None] = []
        for owner, name, raw in zip(owners, names, await self._client.mget(names) if names else (), strict=True):
            if raw is None:
                found.append(None)
                continue
            try:
                document = decode_owner(raw, _ref(owner))
            except StoreUnavailable as error:
                self._leave_out(name, str(error))
                found.append(None)
            else:
                found.append((document, raw) if self._is_good(document, name) else None)
        return found

    async def _unlisted(self) -> list[str]:
        """Owners of tokens who have no line: they are in no list, or have no document that can be read. In order."""
        missing = []
        lists, documents = keys.tokens_key("").encode(), keys.token_key("").encode()
        async for names in self._scan(f"{keys.TAG}:token*"):
            self.seen += sum(name.startswith(documents) for name in names)
            owners = [_text(name.removeprefix(lists)) for name in names if name.startswith(lists)]
            scores = await self._client.zmscore(keys.OWNERS, owners) if owners else ()
            for owner, found, score in zip(owners, await self._owners(owners), scores, strict=True):
                if found is not None and score is None:
                    self._leave_out(keys.owner_key(owner), f"is not in {keys.OWNERS}")
                if found is None or score is None:
                    missing.append(owner)
        return sorted(set(missing))

    async def _scan(self, pattern: str) -> AsyncIterator[list[bytes]]:
        cursor = 0
        while True:
            cursor, names = await self._client.scan(cursor, match=pattern, count=_AT_ONCE)
            yield names
            if cursor == 0:
                return

    async def _tokens(self, owner: str, last: _Last | None) -> None:
        """The tokens in an owner's list, behind `last`."""
        after = (float(last.place), last.token_id.encode()) if last else None
        async for entries in self._entries(keys.tokens_key(owner), after):
            names = [keys.token_key(_text(token_id)) for _, token_id in entries]
            for (score, token_id), raw, name in zip(entries, await self._client.mget(names), names, strict=True):
                if raw is None:
                    continue
                try:
                    token = decode_token(raw, _text(token_id))
                except StoreUnavailable as error:
                    self._leave_out(name, str(error))
                    continue
                if token.owner.key == owner and self._is_good(token, name):
                    self._output.token(token, _place(score, token), raw)
            self._output.flush()
            self._progress(min(self._output.owners + self._output.tokens, self._all), self._all)

    async def _zones(self) -> None:
        prefix, done = keys.zone_key(""), set[bytes]()
        async for names in self._scan(f"{prefix}*"):
            fresh = [name for name in names if name not in done]  # SCAN may show a key twice
            done.update(fresh)
            for name, raw in zip(fresh, await self._client.mget(fresh) if fresh else (), strict=True):
                if raw is None:
                    continue
                try:
                    pin = decode_pin(raw, _text(name).removeprefix(prefix))
                except StoreUnavailable as error:
                    self._leave_out(_text(name), str(error))
                    continue
                if self._is_good(pin, _text(name)):
                    self._output.zone(raw)

    async def _entries(self, name: str, after: tuple[float, bytes] | None) -> AsyncIterator[list[tuple[float, bytes]]]:
        """What the sorted set holds behind `after`, a batch at a time; what others do meanwhile leaves none out."""
        cursor = last = after
        while True:
            member, score = (cursor[1], repr(cursor[0])) if cursor else (b"", "")
            pairs = await self._client.eval(_NEXT, 1, name, member, score, _AT_ONCE)
            batch = [(float(pairs[place + 1]), pairs[place]) for place in range(0, len(pairs), 2)]
            fresh = [entry for entry in batch if last is None or entry > last]
            if fresh:
                yield fresh
            if len(batch) < _AT_ONCE:
                return
            cursor, last = batch[-1], fresh[-1] if fresh else last

    def _is_good(self, document: Token | Owner | ZonePin, key: str) -> bool:
        """Whether a line about it would be imported."""
        fault = _fault(document)
        if fault:
            self._leave_out(key, fault)
        return fault is None

    def _leave_out(self, key: str, fault: str) -> None:
        if len(self.left_out) < MOST_TOLD:
            self.left_out[key] = f"{key}: {fault}"


def _place(score: float, document: Token | Owner) -> int:
    """The score as a place; a list that was damaged may hold any number."""
    return int(score) if 0 <= score < 2**53 and math.isfinite(score) else document.issued_on * _MICROSECONDS


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _ref(owner: str) -> OwnerRef:
    kind, _, owner_id = owner.partition(":")
    try:
        return msgspec.convert({"kind": kind, "id": owner_id}, OwnerRef)
    except msgspec.ValidationError:
        raise StoreUnavailable("its name holds no owner") from None


# Reading a file.


Document = tuple[Token | Owner | ZonePin, int, bytes]
"""What a line says: a document, its place (a zone has none: 0), and its bytes."""


def _read_header(line: bytes) -> Header:
    try:
        header = _header.decode(line)
    except _UNREADABLE:
        raise BackupError(_NO_BACKUP) from None
    if header.version > VERSION:
        raise BackupError(f"has version {header.version}, this zonegate knows {VERSION}: use a newer zonegate")
    if header.schema > STORE_SCHEMA:
        raise BackupError(f"has schema {header.schema}, this zonegate knows {STORE_SCHEMA}: use a newer zonegate")
    return header


def _read_line(line: bytes) -> Document | End:
    try:
        found = _line.decode(line)
        if isinstance(found, End):
            return found
        raw = bytes(found.document)
        document: Token | Owner | ZonePin
        match found:
            case TokenLine():
                document = decode(raw, Token)
            case OwnerLine():
                document = decode(raw, Owner)
            case ZoneLine():
                document = decode(raw, ZonePin)
    except StoreUnavailable as error:
        raise BackupError(str(error)) from None
    except _UNREADABLE:
        raise BackupError("cannot be read") from None
    if fault := _fault(document):
        raise BackupError(fault)
    return document, 0 if isinstance(found, ZoneLine) else found.place, raw


def _fault(document: Token | Owner | ZonePin) -> str | None:
    """Why no gateway could use it, or none could have made it; names of keys are made of the ids."""
    if isinstance(document, ZonePin):
        return _fault_in_pin(document)
    owner = document.owner if isinstance(document, Token) else document.ref
    if isinstance(document, Token) and not Grammar.ID.accepts(document.id.encode()):
        return "a token's id is none"
    if not Grammar.NAME.accepts(owner.id.encode()):
        return "an owner's id is none"
    try:
        if isinstance(document, Owner):
            compile_owner(document)
            return None
        compile_token(document, None)
    except ValueError as error:
        return str(error)
    return _fault_in_name(document.name)


def _fault_in_pin(pin: ZonePin) -> str | None:
    if not Grammar.NAME.accepts(pin.api.encode()):
        return "an API's name is none"
    if not Grammar.DNS_NAME.accepts(pin.zone.replace("/", "=2F").encode()):
        return "a zone's name is none"
    return None if Grammar.NAME.accepts(pin.account.encode()) else "an account's id is none"


_NO_GROUPS: Final = PermissionGroups(())


def _fault_in_name(name: str) -> str | None:
    """What the token API says of a body that has no more than this name, without what it misses in it."""
    found = validate_token(_encoder.encode({"name": name}), _NO_GROUPS, 0, str)
    faults = found if isinstance(found, tuple) else ()
    return next((fault.message for fault in faults if fault.pointer == "/name"), None)


class Checked(msgspec.Struct, frozen=True):
    """A file that is whole. `peppers`: names that digests in it need and that are not set; `useless`: how many tokens
    work with none of their digests therefore.
    """

    header: Header
    owners: int
    tokens: int
    peppers: tuple[str, ...]
    useless: int
    zones: int = 0


def verify(file: IO[bytes], peppers: Collection[str], progress: Progress = lambda _, __: None) -> Checked:
    """Whether `file` is whole, and each document in it can be read; `peppers` are set. Raises BackupError."""
    size = _size(file)
    file.seek(0)
    line = file.readline(_LONGEST_LINE)
    header = _read_header(line)
    sha256 = hashlib.sha256(line)
    counts: Counter[type] = Counter()
    useless = 0
    missing: set[str] = set()
    end = None
    for number, line in _numbered_lines(file):
        if end is not None:
            raise BackupError(f"line {number}: stands behind the end")
        try:
            found = _read_line(line)
        except BackupError as error:
            raise BackupError(f"line {number}: {error}") from None
        if isinstance(found, End):
            end = found
            continue
        sha256.update(line)
        counts[type(found[0])] += 1
        if isinstance(found[0], Token):
            needed = {digest.key for digest in found[0].digests} - {"", *peppers}
            missing |= needed
            useless += bool(needed) and needed == {digest.key for digest in found[0].digests}
        if number % _AT_ONCE == 0:
            progress(file.tell(), size)
    if end is None:
        raise BackupError("was cut off: its last line is missing")
    said, there = (end.owners, end.tokens, end.zones), (counts[Owner], counts[Token], counts[ZonePin])
    if said != there:
        raise BackupError(f"should have {_count_in_words(*said)}, and has {_count_in_words(*there)}")
    if end.sha256 != sha256.hexdigest():
        raise BackupError("was changed: its SHA-256 is not the one in its last line")
    return Checked(header, *there[:2], tuple(sorted(missing)), useless, there[2])


def _count_in_words(owners: int, tokens: int, zones: int) -> str:
    return f"{owners} owners and {tokens} tokens{f' and {zones} zones' if zones else ''}"


def _numbered_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines behind the first; the last one that is cut off too."""
    number = 2
    while line := file.readline(_LONGEST_LINE):
        if not line.endswith(b"\n"):
            raise BackupError(f"line {number}: is cut off, or longer than {_LONGEST_LINE} bytes")
        yield number, line
        number += 1


def _size(file: IO[bytes]) -> int:
    return file.seek(0, os.SEEK_END)


def _documents(file: IO[bytes]) -> Iterator[list[Document]]:
    """What is in a file that `verify` has seen, a batch at a time."""
    file.seek(0)
    file.readline(_LONGEST_LINE)
    batch: list[Document] = []
    for _, line in _numbered_lines(file):
        found = _read_line(line)
        if isinstance(found, End):
            break
        batch.append(found)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


# Import.


class Loaded(msgspec.Struct, frozen=True):
    """What was done. `refused`: documents that were left as they are, by key and reason, at most `MOST_TOLD`.

    `wrong`: documents that the store had otherwise than the file when all was read back, or not at all.
    """

    written: int
    same: int
    refused_count: int
    refused: tuple[str, ...]
    wrong: int


async def load(
    store: RedisStore,
    file: IO[bytes],
    *,
    overwrite: bool,
    clock: Callable[[], float],
    progress: Progress = lambda _, __: None,
) -> Loaded:
    """The documents of `file`, which `verify` has seen, are in `store`. Raises StoreUnavailable, NotReplicated.

    What is there already, and equal, is left alone: after an interruption it can be called again. What differs is left
    alone too, unless `overwrite`.
    """
    size = _size(file)
    load = _Load(store, overwrite=overwrite)
    for batch in _documents(file):
        await load.write(batch, clock())
        progress(file.tell(), 2 * size)
    wrong = 0
    for batch in _documents(file):
        wrong += sum(not _equal(raw, there) for (_, _, raw), there in await load.beside(batch))
        progress(size + file.tell(), 2 * size)
    progress(2 * size, 2 * size)
    return Loaded(load.written, load.same, load.refused_count, tuple(load.refused), wrong)


class _Load:
    def __init__(self, store: RedisStore, *, overwrite: bool) -> None:
        self._store = store
        self._overwrite = overwrite
        self.written = 0
        self.same = 0
        self.refused_count = 0
        self.refused: list[str] = []

    async def beside(self, batch: Sequence[Document]) -> list[tuple[Document, bytes | None]]:
        """Each document with the one that the store has now."""
        async with self._store.using() as clients:
            reader: Any = clients.writer  # whose time limit is the longer one
            there = await reader.mget([_key(document) for document, _, _ in batch])
        return list(zip(batch, there, strict=True))

    async def write(self, batch: Sequence[Document], now: float) -> None:
        changes: list[Imported] = []
        for (document, place, raw), there in await self.beside(batch):
            if there is not None and _equal(raw, there):
                self.same += 1
            elif there is not None and not self._overwrite:
                self._refuse(document, "differs, and was left as it is: --overwrite replaces it")
            elif there is not None and not _may_replace(document, there):
                self._refuse(document, "belongs to another owner there, and was left as it is")
            else:
                changes.append(Imported(document, raw, place, there or b""))
        done = await self._store.import_all(changes, now) if changes else []
        self.written += sum(done)
        for change, is_done in zip(changes, done, strict=True):
            if not is_done:
                self._refuse(change.document, "was changed meanwhile, and was left as it is")

    def _refuse(self, document: Token | Owner | ZonePin, why: str) -> None:
        self.refused_count += 1
        if len(self.refused) < MOST_TOLD:
            self.refused.append(f"{_key(document)}: {why}")


def _key(document: Token | Owner | ZonePin) -> str:
    match document:
        case Token():
            return keys.token_key(document.id)
        case Owner():
            return keys.owner_key(document.ref.key)
        case ZonePin():
            return keys.zone_key(document.key)


def _equal(ours: bytes, theirs: bytes | None) -> bool:
    """Whether both say the same, whatever the order of their fields and their blanks."""
    if theirs is None or ours == theirs:
        return theirs is not None
    with contextlib.suppress(*_UNREADABLE):
        return bool(msgspec.json.decode(ours) == msgspec.json.decode(theirs))
    return False


def _may_replace(document: Token | Owner | ZonePin, there: bytes) -> bool:
    """Not a token by another owner's: it would stay in that one's lists. What cannot be read may be replaced."""
    if not isinstance(document, Token):
        return True
    with contextlib.suppress(StoreUnavailable):
        return decode(there, Token).owner == document.owner
    return True
