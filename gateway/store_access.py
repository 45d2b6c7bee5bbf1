"""How the gateway and the commands beside it come to the store: its embedded server, a connection, the first owner."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from gateway.access.ports import StoreUnavailable
from gateway.catalog.catalog import Catalog
from gateway.policy_files import build_catalog
from gateway.settings import Settings, SettingsError
from gateway.start_error import StartError
from gateway.store.embedded import EmbeddedServer
from gateway.store.failure import is_cancelled
from gateway.store.primary import Primary
from gateway.store.redis_store import AuditLimits, RedisStore
from gateway.store_url import parse_store_url
from gateway.tokens.digest import Peppers
from gateway.tokens.first_owner import first_owner
from gateway.tokens.owner import OwnerKind
from gateway.tokens.secret import Sensitive
from gateway.tokens.token import Token

_DAY: Final = 86400

Answer = TypeVar("Answer")


class ReadyStore(msgspec.Struct, frozen=True):
    """A store that can be connected to. `is_running`: of the embedded server; others are watched by nobody."""

    url: str
    is_running: Callable[[], bool] | None = None


@contextmanager
def ready_store(settings: Settings) -> Iterator[ReadyStore]:
    """The store of `settings`; starts the embedded server, or finds it, and ends the one that it started."""
    url = settings.store.url.reveal()
    if url != "embedded":
        yield ReadyStore(url)
        return
    server = EmbeddedServer(Path(settings.store.data_dir))
    try:
        yield ReadyStore(server.start(), server.is_running)
    finally:
        server.stop()


@asynccontextmanager
async def open_store(settings: Settings, url: str) -> AsyncIterator[RedisStore]:
    """The store at `url`, closed on the way out."""
    try:
        where = parse_store_url(url)
    except ValueError as error:  # its text repeats nothing of the URL
        raise SettingsError(f"store.url: {error}") from None
    store = RedisStore(
        Primary(where, sentinel_password=settings.store.sentinel_password),
        peppers=Peppers(settings.store.pepper).keys,
        audit=AuditLimits(settings.audit.max_entries, settings.audit.max_age * _DAY),
        write_replicas=settings.store.write_replicas,
    )
    try:
        yield store
    finally:
        await store.close()


def ask_store(settings: Settings, question: Callable[[RedisStore], Awaitable[Answer]]) -> Answer:
    """What `question` of the store comes to; a running gateway's is found, and an embedded one started if need be.

    Raises what `question` raises, and SettingsError, EmbeddedError, StoreRefused, StoreUnavailable.
    """

    async def ask(url: str) -> Answer:
        async with open_store(settings, url) as store:
            try:
                await store.prepare()
                return await question(store)
            except StoreUnavailable:
                if is_cancelled():  # a Ctrl-C that was lost on the way
                    raise asyncio.CancelledError from None
                raise

    with ready_store(settings) as found:
        return asyncio.run(ask(found.url))


async def _initialise(
    settings: Settings, catalog: Catalog, store: RedisStore, *, recover: bool
) -> tuple[Token, Sensitive]:
    first = await store.first_owner() if recover else None
    if recover and first is None:
        raise StartError("there is no owner to recover in this store: without --recover, init makes the first")
    # An account cannot take the first user's place: another user does.
    user_id = first.id if first and first.kind is OwnerKind.USER else secrets.token_hex(16)
    now = time.time()
    owner, token, secret = first_owner(
        catalog.groups, Peppers(settings.store.pepper), user_id, now, secrets.token_bytes
    )
    if not recover:
        await store.initialise(owner, token, now)
        return token, secret
    with suppress(StoreUnavailable):  # a record that cannot be read is made anew
        if old := await store.get_owner(owner.ref):
            owner = msgspec.structs.replace(owner, name=old[0].name, issued_on=old[0].issued_on)
    token = msgspec.structs.replace(token, name="Recovered token: every right")
    await store.recover(owner, token, now)
    return token, secret


def initialise(settings: Settings, *, recover: bool = False) -> tuple[Token, Sensitive, Catalog]:
    """Make the first owner and its token; returns the token and its secret. Raises Conflict when there is an owner,
    and what `serve` raises.

    With `recover` the first owner gets another token, and its record is active and whole again; there must be one.
    """
    catalog = build_catalog(settings)
    token, secret = ask_store(settings, lambda store: _initialise(settings, catalog, store, recover=recover))
    return token, secret, catalog
