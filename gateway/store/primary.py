"""The one server that all reads, changes and messages go to: the primary that owns our keys.

Whoever names it (a sentinel, a node of a cluster) may be behind, so the named server is asked itself before it is
believed. One `Clients` belongs to one address for all its life: a read cannot come from another server than the
subscription that vouches for it. After a failover there is another `Clients`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import msgspec
from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.client import PubSub
from redis.asyncio.connection import AbstractConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from gateway.access.ports import StoreUnavailable
from gateway.settings import in_url
from gateway.store import keys
from gateway.store.failure import NONSENSE, ClientGoneError, CrowdedError, explain, mapped
from gateway.store_url import Address, Cluster, Sentinels, Server
from gateway.tokens.secret import Sensitive

READ_TIMEOUT: Final = 0.5
CHANGE_TIMEOUT: Final = 2.0
_CONNECTIONS: Final = 32
"""Of one client, in use at once."""
_ASK_TIMEOUT: Final = 0.2
_SEARCH_TIMEOUT: Final = 1.0
_SLOT: Final = key_slot(keys.TAG.encode())
_SERVER_PORT: Final = 6379
_NO_SENTINEL: Final = "no sentinel answered"
_NO_NODE: Final = "no node of the cluster answered"
_DOWN: Final = frozenset({b"s_down", b"o_down"})
_REPLACED: Final = b"failover_in_progress"


class _Pool(ConnectionPool):
    """Of a `Clients` that is gone it gives no connection any more; one in use closes when its command has ended.

    Who finds all connections in use waits for one; redis-py would refuse him, and its pool that waits says that the
    server is away when it has waited in vain.
    """

    def __init__(self, clients: "Clients", patience: float, **options: Any) -> None:  # noqa: ANN401 - redis-py's
        super().__init__(**options)
        self._clients = clients
        self._patience = patience
        self._turns = asyncio.Semaphore(_CONNECTIONS)

    async def get_connection(self, *words: Any, **options: Any) -> AbstractConnection:  # noqa: ANN401 - redis-py's signature
        try:
            async with asyncio.timeout(self._patience):
                await self._turns.acquire()
        except TimeoutError:
            raise CrowdedError("no connection was free in time") from None
        try:
            return await self._get(*words, **options)
        except BaseException:
            self._turns.release()
            raise

    async def _get(self, *words: Any, **options: Any) -> AbstractConnection:  # noqa: ANN401 - redis-py's signature
        if self._clients.gone:
            raise ClientGoneError("this server was given up")
        connection: AbstractConnection = await super().get_connection(*words, **options)  # type: ignore[no-untyped-call]
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        try:
            if self._clients.gone:
                await connection.disconnect(nowait=True)
            await super().release(connection)
        finally:
            self._turns.release()


class _Once(AbstractConnection):
    """Connects once. redis-py would connect and subscribe again unseen, and what was told between would be missed."""

    _begun = False

    async def connect(self) -> None:
        if self.is_connected:
            return
        if self._begun:
            raise ClientGoneError("the subscription's connection is gone")
        self._begun = True
        await super().connect()  # type: ignore[no-untyped-call]


class _OnceTcp(_Once, Connection):
    pass


class _OnceTls(_Once, SSLConnection):
    pass


class _OnceUnix(_Once, UnixDomainSocketConnection):
    pass


_ONCE: Final[Mapping[type[AbstractConnection], type[AbstractConnection]]] = {
    Connection: _OnceTcp,
    SSLConnection: _OnceTls,
    UnixDomainSocketConnection: _OnceUnix,
}


def _limits(timeout: float) -> dict[str, Any]:
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        # redis-py's own defaults hang for 25 s, and repeat commands.
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "health_check_interval": 0,
        # With 3 redis-py lets a server move its connections to another address, and loosen their limits.
        "protocol": 2,
    }


class Clients:
    """Clients of one server. They read and write there or nowhere."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """`options`: where the server is, and who we are, in redis-py's words."""
        self._options = dict(options)
        self._kind: type[AbstractConnection] = self._options.pop("connection_class", Connection)
        self.gone = False
        """Whether the server was given up: what it says from then on must not be believed."""
        self.guard = Redis.from_pool(self._pool(self._kind, READ_TIMEOUT))
        """For what authentication and rate limits turn on, and nothing else: no number of lists and changes holds it
        up.
        """
        self.reader = Redis.from_pool(self._pool(self._kind, READ_TIMEOUT))
        self.writer = Redis.from_pool(self._pool(self._kind, CHANGE_TIMEOUT))
        address = (self._options.get("host", "localhost"), self._options.get("port", _SERVER_PORT))
        self.address: str = self._options.get("path") or _text(address)

    def _pool(self, kind: type[AbstractConnection], timeout: float) -> _Pool:
        return _Pool(self, timeout, connection_class=kind, **self._options, **_limits(timeout))

    def subscriber(self) -> PubSub:
        """A subscription on a connection of its own, which its caller closes.

        It connects once: when the connection breaks, every call raises, and nothing is subscribed again.
        """
        return PubSub(self._pool(_ONCE[self._kind], READ_TIMEOUT))

    async def close(self) -> None:
        """No command is sent any more. What is idle is closed; commands under way end, and their connections then."""
        self.gone = True
        for client in (self.guard, self.reader, self.writer):
            with suppress(RedisError, OSError):
                await client.connection_pool.disconnect(inuse_connections=False)


class _Named(msgspec.Struct, frozen=True):
    """What a sentinel says of the primary."""

    address: Address
    epoch: int
    """Of the failover that made it the primary: the highest is the newest."""
    down: bool
    replaced: bool
    """Another server is being made the primary."""


class Primary:
    """Finds the server, and says when it is lost.

    For `Server` the address is fixed. Otherwise a failover may happen (`replicated`), and in a cluster messages travel
    by SPUBLISH and SSUBSCRIBE (`sharded`).
    """

    def __init__(
        self,
        where: Server | Sentinels | Cluster,
        *,
        sentinel_password: Sensitive = Sensitive(""),  # noqa: B008 - it never changes
    ) -> None:
        self._where = where
        self._sentinel_password = sentinel_password
        self.replicated = not isinstance(where, Server)
        self.sharded = isinstance(where, Cluster)
        self.channel = keys.channel(_database(where))
        self.on_lost: list[Callable[[Clients], None]] = []
        self._nodes: Sequence[Address] = where.nodes if isinstance(where, Cluster) else ()
        self._current: Clients | None = None
        self._lock = asyncio.Lock()
        self._failures = 0
        self._failure = ""
        self._closed = False
        self._farewells: set[asyncio.Task[None]] = set()

    async def clients(self) -> Clients:
        """The clients of the primary: the same until `lost` is told of them. Raises StoreUnavailable, within 1 s.

        Who calls while somebody searches gets what that search finds, its failure too.
        """
        if self._current is not None:
            return self._current
        failures = self._failures
        async with self._lock:
            if self._current is not None:
                return self._current
            if self._closed:
                raise StoreUnavailable("the store was closed")
            if self._failures != failures:
                raise StoreUnavailable(self._failure)
            try:
                self._current = await self._search()
            except StoreUnavailable as unavailable:
                self._failures += 1
                self._failure = str(unavailable)
                raise
            return self._current

    def lost(self, clients: Clients) -> None:
        """The next `clients()` searches, nothing is sent through `clients` any more, and who asked to is told.

        Ignored when `clients` is not the current one: somebody else has seen it before.
        """
        if clients is not self._current:
            return
        self._current = None
        clients.gone = True
        # Not in a TaskGroup: whoever notices the loss need not wait for the farewell. The set keeps the task.
        farewell = asyncio.get_running_loop().create_task(clients.close())
        self._farewells.add(farewell)
        farewell.add_done_callback(self._farewells.discard)
        for tell in self.on_lost:
            tell(clients)

    async def confirms(self, clients: Clients) -> bool:
        """Whether most sentinels still name this server, and none is replacing it. Without sentinels: true.

        A primary does not know of the failover that has begun: it goes on taking changes, and a replica that was
        passed over acknowledges them. They are lost when both are told.
        """
        if not isinstance(self._where, Sentinels):
            return True
        answers = await asyncio.gather(*(self._ask_sentinel(address, self._where) for address in self._where.hosts))
        named = [answer for answer in answers if isinstance(answer, _Named)]
        return 2 * len(named) > len(answers) and all(
            _text(each.address) == clients.address and not each.down and not each.replaced for each in named
        )

    async def close(self) -> None:
        """Close the connections. Nothing is found any more."""
        self._closed = True
        async with self._lock:
            if self._current is not None:
                await self._current.close()
            self._current = None
        await asyncio.gather(*self._farewells)

    async def _search(self) -> Clients:
        try:
            async with asyncio.timeout(_SEARCH_TIMEOUT):
                match self._where:
                    case Server(url):
                        return Clients(parse_url(url))
                    case Sentinels() as sentinels:
                        return await self._by_sentinels(sentinels)
                    case Cluster() as cluster:
                        return await self._by_nodes(cluster)
        except TimeoutError:
            raise StoreUnavailable("the primary of the store was not found in time") from None

    async def _by_sentinels(self, where: Sentinels) -> Clients:
        answers = await asyncio.gather(*(self._ask_sentinel(address, where) for address in where.hosts))
        named = [answer for answer in answers if isinstance(answer, _Named)]
        if not named:
            raise StoreUnavailable(next((str(said) for said in answers if said != _NO_SENTINEL), _NO_SENTINEL))
        # A sentinel that was cut off still names the server of an older epoch. That server is not asked, even when the
        # newest cannot be reached: it might answer, and not know that it was replaced.
        newest = max(answer.epoch for answer in named)
        up = [answer.address for answer in named if answer.epoch == newest and not answer.down]
        if not up:
            raise StoreUnavailable("the sentinels see the primary as down")
        address = max(up, key=up.count)
        options = _options(address, where.username, where.password, tls=where.tls)
        return await self._believe(options | {"db": where.db})

    async def _ask_sentinel(self, address: Address, where: Sentinels) -> _Named | str:
        """What it says, or why nothing."""
        service = where.service
        try:
            async with _asked(_options(address, "", self._sentinel_password, tls=where.tls)) as sentinel:
                masters = await sentinel.execute_command("SENTINEL", "MASTERS")
                # Of the two only this tells, in the middle of a failover, which server belongs to the new epoch (ran:
                # MASTERS says the new epoch and the old server for a second). So it is asked after, not before.
                current = await sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
            return _named(masters, current, service) or f"the sentinels know no primary called {service}"
        except (AuthenticationError, ResponseError):
            return "a sentinel refused us: is it one, and is store.sentinel_password right?"
        except (RedisError, OSError, TimeoutError, *NONSENSE):
            return _NO_SENTINEL

    async def _by_nodes(self, where: Cluster) -> Clients:
        said = _NO_NODE
        refused = set()
        for node in self._nodes:
            slots = await self._ask_node(node, where)
            if isinstance(slots, str):
                said = said if slots == _NO_NODE else slots
                continue
            owner = next((slot.nodes[0] for slot in slots if slot.first <= _SLOT <= slot.last and slot.nodes), None)
            if owner is None:
                said = "the cluster has no primary for our slot"
            elif owner not in refused:
                try:
                    clients = await self._believe(_options(owner, where.username, where.password, tls=where.tls))
                except StoreUnavailable as unavailable:  # the node may be behind: another one may know better
                    refused.add(owner)
                    said = str(unavailable)
                else:
                    seen = (address for slot in slots for address in slot.nodes if address is not None)
                    self._nodes = tuple(dict.fromkeys([node, *where.nodes, *seen]))
                    return clients
        raise StoreUnavailable(said)

    async def _ask_node(self, address: Address, where: Cluster) -> "list[_Slots] | str":
        """What it says, or why nothing."""
        try:
            async with _asked(_options(address, where.username, where.password, tls=where.tls)) as node:
                return [_slots(entry, address[0]) for entry in await node.execute_command("CLUSTER", "SLOTS")]
        except (AuthenticationError, ResponseError) as error:
            return explain(error)
        except (RedisError, OSError, TimeoutError, *NONSENSE):
            return _NO_NODE

    async def _believe(self, options: Mapping[str, Any]) -> Clients:
        """The clients of the named server, if it says itself that it is the primary, and ours."""
        clients = Clients(options)
        try:
            await self._ask_itself(clients.reader)
        except BaseException:
            await clients.close()
            raise
        return clients

    async def _ask_itself(self, reader: Any) -> None:  # noqa: ANN401 - redis-py types an answer by what any setting makes of it
        async with mapped():
            role = await reader.execute_command("ROLE")
            if self.sharded:
                await reader.exists(keys.META)  # refused (MOVED, CLUSTERDOWN) unless it owns our slot
        if not isinstance(role, list) or role[:1] != [b"master"]:
            raise StoreUnavailable("the server that is named as the primary is none")


def _database(where: Server | Sentinels | Cluster) -> int:
    match where:
        case Server(url):
            return int(parse_url(url).get("db") or 0)
        case Sentinels():
            return where.db
        case Cluster():
            return 0


class _Slots(msgspec.Struct, frozen=True):
    """Slots `first` to `last`: their primary, then its replicas; None for one whose address is not known."""

    first: int
    last: int
    nodes: tuple[Address | None, ...]


def _named(masters: Iterable[Sequence[bytes]], current: Sequence[bytes] | None, service: str) -> _Named | None:
    """What `SENTINEL MASTERS` and `SENTINEL GET-MASTER-ADDR-BY-NAME` say of `service`."""
    states = (dict(zip(pairs[::2], pairs[1::2], strict=True)) for pairs in masters)
    state = next((state for state in states if state[b"name"] == service.encode()), None)
    if state is None or current is None:
        return None
    host, port = current
    flags = state[b"flags"].split(b",")
    # The flags are those of the server in MASTERS: the old one, if they differ.
    down = [state[b"ip"], state[b"port"]] == [host, port] and not _DOWN.isdisjoint(flags)
    return _Named((host.decode(), int(port)), int(state[b"config-epoch"]), down, _REPLACED in flags)


def _slots(entry: Sequence[Any], asked: str) -> _Slots:
    """One entry of `CLUSTER SLOTS`, said by the node at the host `asked`."""
    first, last, *nodes = entry
    return _Slots(int(first), int(last), tuple(_node(host, port, asked) for host, port, *_ in nodes))


def _node(host: bytes | None, port: int, asked: str) -> Address | None:
    """A node without a host is where the asked one is; one called "?" has not told its name yet."""
    return None if host == b"?" else (host.decode() if host else asked, int(port))


def _text(address: Address) -> str:
    host, port = address
    return f"{in_url(host)}:{port}"


def _options(address: Address, username: str, password: Sensitive, *, tls: bool) -> dict[str, Any]:
    host, port = address
    return {
        "connection_class": SSLConnection if tls else Connection,
        "host": host,
        "port": port,
        "username": username or None,
        "password": password.reveal() or None,
    }


@asynccontextmanager
async def _asked(options: Mapping[str, Any]) -> AsyncIterator[Any]:
    """A client for one quick question: who is slow costs the search little."""
    client = Redis.from_pool(ConnectionPool(**options, **_limits(_ASK_TIMEOUT)))
    try:
        async with asyncio.timeout(_ASK_TIMEOUT):
            yield client
    finally:
        with suppress(RedisError, OSError):
            await client.aclose()
