"""Sessions of the dashboard: each under the SHA-256 of its cookie, so that who reads the store can use none.

A session is no part of what tokens are: it has no entry in the audit, no message and no number, is not exported, and
goes by itself. Whether it may still be used is decided elsewhere, at each request.
"""

from typing import Any, Final

import msgspec

from gateway.access.ports import StoreUnavailable
from gateway.store import keys
from gateway.store.redis_store import RedisStore
from gateway.tokens.digest import Digest

SESSION_SCHEMA: Final = 1
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
        """`session` is there for so many `seconds`, if there is no freeze until then."""
        async with self._store.using(changes=True) as clients:
            client: Any = clients.writer
            session = msgspec.structs.replace(session, freezes=_count(await client.hget(keys.META, "freezes")))
            await client.set(keys.session_key(digest), _encoder.encode(session), ex=seconds)

    async def get(self, digest: str) -> Session | None:
        """The session, or None where there is none, or it ended with a freeze."""
        async with self._store.using() as clients:
            pipe: Any = clients.reader.pipeline(transaction=False)
            pipe.get(keys.session_key(digest))
            pipe.hget(keys.META, "freezes")
            raw, found = await pipe.execute()
            freezes = _count(found)
        if raw is None:
            return None
        try:
            session = _decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise StoreUnavailable("a session cannot be read") from error
        if session.schema > SESSION_SCHEMA:
            raise StoreUnavailable(f"a session has schema {session.schema}; this version knows {SESSION_SCHEMA}")
        return session if session.freezes == freezes else None

    async def touch(self, digest: str, session: Session, seconds: int) -> None:
        """`session` stands in the place of what was there, for so many `seconds`; one that has ended stays away."""
        async with self._store.using(changes=True) as clients:
            client: Any = clients.writer
            await client.set(keys.session_key(digest), _encoder.encode(session), ex=seconds, xx=True)

    async def end(self, digest: str) -> None:
        """There is no such session."""
        async with self._store.using(changes=True) as clients:
            client: Any = clients.writer
            await client.delete(keys.session_key(digest))


def _count(raw: bytes | None) -> int:
    return int(raw or b"0")
