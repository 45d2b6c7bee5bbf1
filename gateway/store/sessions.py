"""Sessions of the dashboard: each under the SHA-256 of its cookie, so that who reads the store can use none.

A session is no part of what tokens are: it has no message and no number, is not exported, and goes by itself. Whether
it may still be used is decided elsewhere, at each request. The audit tells who signed in and out.
"""

from typing import Any, Final

import msgspec

from gateway.access.ports import Action, Actor, StoreUnavailable
from gateway.store import keys
from gateway.store.redis_store import RedisStore
from gateway.tokens.digest import Digest

SESSION_SCHEMA: Final = 1
MOST_OF_ONE: Final = 100
"""Sessions of one token: whoever signs in again and again ends his own, and does not fill the store."""
_LISTED_FOR: Final = 24 * 60 * 60
"""Seconds after the last sign-in: longer than any session lasts."""
_encoder: Final = msgspec.json.Encoder()


# Stored as JSON. Rule of change: add at the end, with a default; never rename; raise SESSION_SCHEMA when an older
# reader would misread.
class Session(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who signed in, and when (`begun`) and when last something was asked (`seen`); Unix seconds.

    `digest`: that of the token's digests which was proved; `freezes`: how many freezes there had been.
    """

    schema: int
    token_id: str
    digest: Digest
    begun: int
    seen: int
    freezes: int = 0


_decoder: Final = msgspec.json.Decoder(Session)


class StoredSessions:
    """The sessions of a store, by the SHA-256 (hex) of their cookies. Every method raises StoreUnavailable."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def begin(self, digest: str, session: Session, seconds: int) -> None:
        """`session` is there for so many `seconds`, if there is no freeze until then, nor `MOST_OF_ONE` sessions of its
        token that began later.
        """
        name = keys.sessions_key(session.token_id)
        async with self._store.using(changes=True) as clients:
            client: Any = clients.writer
            session = msgspec.structs.replace(session, freezes=_count(await client.hget(keys.META, "freezes")))
            # It is in the list first: one that is in no list would be counted by nobody.
            pipe: Any = client.pipeline(transaction=False)
            pipe.rpush(name, digest)
            pipe.expire(name, _LISTED_FOR)
            pipe.set(keys.session_key(digest), _encoder.encode(session), ex=seconds)
            pipe.lrange(name, 0, -MOST_OF_ONE - 1)
            pipe.ltrim(name, -MOST_OF_ONE, -1)
            *_, surplus, _ = await pipe.execute()
            if surplus:
                await client.delete(*(keys.session_key(each.decode("ascii")) for each in surplus))

    async def get(self, digest: str) -> Session | None:
        """The session, or None where there is none, or it ended with a freeze."""
        async with self._store.using() as clients:
            pipe: Any = clients.reader.pipeline(transaction=False)
            pipe.get(keys.session_key(digest))
            pipe.hget(keys.META, "freezes")
            raw, found = await pipe.execute()
            freezes = _count(found)
        return _read(raw, freezes)

    async def touch(self, digest: str, session: Session, seconds: int) -> None:
        """`session` stands in the place of what was there, for so many `seconds`; one that has ended stays away."""
        async with self._store.using(changes=True) as clients:
            client: Any = clients.writer
            await client.set(keys.session_key(digest), _encoder.encode(session), ex=seconds, xx=True)

    async def note(self, action: Action, by: Actor, now: float) -> None:
        """It stands in the audit that `by` signed in or out."""
        await self._store.visited(action, by, now)

    async def end(self, digest: str) -> Session | None:
        """There is no such session any more; the one that there was, if it had not ended and can be read."""
        async with self._store.using(changes=True) as clients:
            pipe: Any = clients.writer.pipeline(transaction=False)
            pipe.get(keys.session_key(digest))
            pipe.delete(keys.session_key(digest))
            pipe.hget(keys.META, "freezes")
            raw, _, found = await pipe.execute()
            freezes = _count(found)
        try:
            return _read(raw, freezes)
        except StoreUnavailable:
            return None


def _read(raw: bytes | None, freezes: int) -> Session | None:
    """The session, or None where there is none, or it ended with a freeze. Raises StoreUnavailable."""
    if raw is None:
        return None
    try:
        session = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreUnavailable("a session cannot be read") from error
    if session.schema > SESSION_SCHEMA:
        raise StoreUnavailable(f"a session has schema {session.schema}; this version knows {SESSION_SCHEMA}")
    return session if session.freezes == freezes else None


def _count(raw: bytes | None) -> int:
    return int(raw or b"0")
