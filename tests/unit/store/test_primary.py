import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from support.certificates import Authority
from support.servers import HOST, SERVICE, SLOT, Answer, Scripted, scripted

from gateway.access.ports import StoreUnavailable
from gateway.store.failure import ClientGoneError, CrowdedError, mapped
from gateway.store.primary import CHANGE_TIMEOUT, READ_TIMEOUT, Clients, Primary
from gateway.store_url import Cluster, Sentinels, Server
from gateway.tokens.secret import Sensitive

NOBODY = Sensitive("")
SILENT = b""
Start = Callable[[Answer], Awaitable[Scripted]]


def resp(value: object) -> bytes:
    """`value` as a server writes it; an exception is an error."""
    match value:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % value
        case str():
            return b"$%d\r\n%s\r\n" % (len(value), value.encode())
        case list():
            return b"*%d\r\n" % len(value) + b"".join(map(resp, value))
        case _:
            return f"-{value}\r\n".encode()


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """`start(answer)`: a scripted server, until the test ends."""
    async with AsyncExitStack() as stack:

        async def start(answer: Answer) -> Scripted:
            return await stack.enter_async_context(scripted(answer))

        yield start


@pytest.fixture
async def primary_of() -> AsyncIterator[Callable[..., Primary]]:
    """`primary_of(where)`: a Primary that is closed when the test ends."""
    async with AsyncExitStack() as stack:

        def primary_of(where: Server | Sentinels | Cluster, password: Sensitive = NOBODY) -> Primary:
            primary = Primary(where, sentinel_password=password)
            stack.push_async_callback(primary.close)
            return primary

        yield primary_of


def server(role: str = "master", error: str | None = None) -> Answer:
    """A data server that says what it is; with `error`, it says that to any question about a key."""

    def answer(words: list[bytes]) -> bytes:
        if words[0] in (b"AUTH", b"SELECT"):
            return b"+OK\r\n"
        if words[0] == b"ROLE":
            return resp([role, 0, []])
        return resp(Exception(error)) if error else resp(1)

    return answer


def sentinel(
    port: int | None, *, epoch: int = 0, flags: str = "master", current: int | None = None, service: str = SERVICE
) -> Answer:
    """A sentinel that names the server at `port`, and in the middle of a failover the one at `current`."""
    state = ["name", service, "ip", HOST, "port", str(port), "flags", flags, "config-epoch", str(epoch)]

    def answer(words: list[bytes]) -> bytes:
        if words[0] == b"AUTH":
            return b"+OK\r\n"
        if words[1] == b"MASTERS":
            return resp([state])
        return resp([HOST, str(current or port)] if words[2] == service.encode() else None)

    return answer


def sentinels(*servers: Scripted, db: int = 0, username: str = "", password: str = "") -> Sentinels:
    return Sentinels(tuple((HOST, one.port) for one in servers), SERVICE, db, username, Sensitive(password))


def cluster(*nodes: Scripted) -> Cluster:
    return Cluster(tuple((HOST, one.port) for one in nodes), "", NOBODY)


def node(*owners: tuple[str | None, int], also: Iterable[int] = (), role: str = "master", error: str = "") -> Answer:
    """A node of a cluster. It says that `owners` have our slot, the first as its primary, and `also` others."""
    slots = [
        [0, SLOT - 1, *([HOST, port, "id", []] for port in also)],
        [SLOT, SLOT, *([host, port, "id", []] for host, port in owners)],
    ]

    def answer(words: list[bytes]) -> bytes:
        if words == [b"CLUSTER", b"SLOTS"]:
            return resp([entry for entry in slots if len(entry) > 2])
        return server(role, error)(words)

    return answer


def names(server: Scripted) -> list[bytes]:
    return [words[0] for words in server.commands]


async def refusal(primary: Primary) -> str:
    with pytest.raises(StoreUnavailable) as caught:
        await primary.clients()
    assert not caught.value.outcome_unknown
    return str(caught.value)


async def found(primary: Primary) -> int:
    """The port of the server that was found."""
    host, _, port = (await primary.clients()).address.rpartition(":")
    assert host == HOST
    return int(port)


# One server.


@pytest.mark.parametrize(
    ("where", "replicated", "sharded"),
    [
        pytest.param(Server("redis://h"), False, False, id="server"),
        pytest.param(Sentinels((("h", 1),), "zg", 0, "", NOBODY), True, False, id="sentinels"),
        pytest.param(Cluster((("h", 1),), "", NOBODY), True, True, id="cluster"),
    ],
)
def test_the_kind_of_store_says_whether_it_may_fail_over_and_how_messages_travel(
    where: Server, *, replicated: bool, sharded: bool
) -> None:
    primary = Primary(where)
    assert (primary.replicated, primary.sharded) == (replicated, sharded)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        pytest.param("redis://", "localhost:6379", id="nothing"),
        pytest.param("redis://user:hush@h:1/0", "h:1", id="a password"),
        pytest.param("rediss://:hush@[::1]:1", "[::1]:1", id="IPv6"),
        pytest.param("unix://user:hush@/run/x.sock?db=3", "/run/x.sock", id="a socket"),
    ],
)
async def test_an_address_says_where_the_server_is_and_no_secret(
    primary_of: Callable[..., Primary], url: str, address: str
) -> None:
    assert (await primary_of(Server(url)).clients()).address == address


@pytest.mark.parametrize("url", ["redis://user:word@h:1/3", "rediss://h", "unix:///run/x.sock?db=3"])
async def test_no_client_waits_long_repeats_a_command_or_lets_the_server_move_it(
    primary_of: Callable[..., Primary], url: str
) -> None:
    clients = await primary_of(Server(url)).clients()
    pools = [clients.reader.connection_pool, clients.writer.connection_pool, clients.subscriber().connection_pool]
    for pool, seconds in zip(pools, (READ_TIMEOUT, CHANGE_TIMEOUT, READ_TIMEOUT), strict=True):
        connection = pool.make_connection()
        assert connection.socket_timeout == connection.socket_connect_timeout == seconds
        assert connection.retry.get_retries() == 0
        assert connection.retry_on_error == []
        assert connection.health_check_interval == 0
        assert connection.protocol == 2
        assert connection.db == (0 if "rediss" in url else 3)


async def test_the_clients_are_the_same_until_they_are_lost(primary_of: Callable[..., Primary]) -> None:
    primary = primary_of(Server("redis://h"))
    first = await primary.clients()
    assert await primary.clients() is first
    assert not first.gone
    primary.lost(first)
    assert first.gone
    second = await primary.clients()
    assert second is not first
    assert not second.gone


async def test_a_loss_is_told_at_once_to_all_and_once(primary_of: Callable[..., Primary]) -> None:
    primary = primary_of(Server("redis://h"))
    told: list[tuple[str, Clients]] = []
    primary.on_lost.append(lambda clients: told.append(("one", clients)))
    primary.on_lost.append(lambda clients: told.append(("two", clients)))
    first = await primary.clients()
    primary.lost(first)
    assert told == [("one", first), ("two", first)]
    primary.lost(first)
    assert len(told) == 2


async def test_the_loss_of_other_clients_than_the_current_ones_is_ignored(primary_of: Callable[..., Primary]) -> None:
    primary = primary_of(Server("redis://h"))
    first = await primary.clients()
    primary.lost(first)
    second = await primary.clients()
    told: list[Clients] = []
    primary.on_lost.append(told.append)
    primary.lost(first)
    assert told == []
    assert await primary.clients() is second


async def test_a_primary_that_was_closed_finds_nothing(primary_of: Callable[..., Primary]) -> None:
    primary = primary_of(Server("redis://h"))
    clients = await primary.clients()
    await primary.close()
    assert clients.gone
    assert await refusal(primary) == "the store was closed"
    await primary.close()


# Clients that were given up.


async def test_nothing_is_sent_through_clients_that_were_given_up(
    start: Start, primary_of: Callable[..., Primary]
) -> None:
    stub = await start(server())
    primary = primary_of(Server(f"redis://{HOST}:{stub.port}"))
    clients = await primary.clients()
    await clients.reader.get("before")
    primary.lost(clients)
    for client in (clients.reader, clients.writer):
        with pytest.raises(ClientGoneError):
            await client.get("after")
        with pytest.raises(ClientGoneError):
            await client.pipeline().get("after").execute()
    with pytest.raises(ClientGoneError):
        await clients.subscriber().subscribe("channel")
    assert names(stub) == [b"GET"]


async def test_a_command_under_way_ends_though_its_clients_are_given_up(primary_of: Callable[..., Primary]) -> None:
    arrived, released = asyncio.Event(), asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while b"\r\nSET\r\n" not in (piece := await reader.read(65536)):
            writer.write(b"+OK\r\n" * piece.count(b"\r\nCLIENT\r\n"))
        arrived.set()
        await released.wait()
        writer.write(b"+OK\r\n")
        assert await reader.read() == b""  # the client closes then
        writer.close()

    listener = await asyncio.start_server(hold, HOST, 0)
    async with listener, asyncio.TaskGroup() as tasks:
        primary = primary_of(Server(f"redis://{HOST}:{listener.sockets[0].getsockname()[1]}"))
        clients = await primary.clients()
        change = tasks.create_task(clients.writer.set("key", "value"))
        await arrived.wait()
        primary.lost(clients)
        await primary.close()
        released.set()
        assert await change is True


async def test_a_subscription_connects_once(start: Start, primary_of: Callable[..., Primary]) -> None:
    stub = await start(lambda words: resp(["subscribe", "channel", 1]) if words[0] == b"SUBSCRIBE" else None)
    clients = await primary_of(Server(f"redis://{HOST}:{stub.port}")).clients()
    subscription = clients.subscriber()
    await subscription.subscribe("channel")
    assert (await subscription.get_message(timeout=5))["type"] == "subscribe"
    await subscription.ping("nonce")
    for _ in range(3):
        with pytest.raises(RedisConnectionError):
            await subscription.get_message(timeout=5)
    with pytest.raises(RedisConnectionError):
        await subscription.ping("nonce")
    assert names(stub) == [b"SUBSCRIBE", b"PING"]
    await subscription.aclose()


# TLS.


@pytest.fixture
def certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """What a server of ours shows: a certificate of an authority that this machine believes."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign(HOST))
    return context


async def test_sentinels_and_the_server_that_they_name_are_asked_under_tls(
    certified: ssl.SSLContext, primary_of: Callable[..., Primary]
) -> None:
    async with scripted(server(), certified) as data, scripted(sentinel(data.port), certified) as asked:
        primary = primary_of(replace(sentinels(asked), tls=True))
        assert await found(primary) == data.port
        assert await primary.confirms(await primary.clients())


async def test_nodes_are_asked_under_tls(certified: ssl.SSLContext, primary_of: Callable[..., Primary]) -> None:
    async with scripted(server(), certified) as owner, scripted(node((HOST, owner.port)), certified) as asked:
        assert await found(primary_of(replace(cluster(asked), tls=True))) == owner.port


async def test_a_server_of_another_authority_hears_no_password(
    certified: ssl.SSLContext,
    primary_of: Callable[..., Primary],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", Authority(tmp_path, "another").file)
    async with scripted(server(), certified) as data:
        clients = await primary_of(Server(f"rediss://:word@{HOST}:{data.port}")).clients()
        with pytest.raises(StoreUnavailable, match="certificate was not accepted: SSL_CERT_FILE"):
            async with mapped():
                await clients.reader.execute_command("ROLE")
        where = replace(cluster(data), password=Sensitive("word"), tls=True)
        assert await refusal(primary_of(where)) == "no node of the cluster answered"
        assert data.commands == []


# Sentinels.


async def test_the_server_that_a_sentinel_names_is_asked_itself(
    start: Start, primary_of: Callable[..., Primary]
) -> None:
    data = await start(server())
    asked = await start(sentinel(data.port))
    assert await found(primary_of(sentinels(asked))) == data.port
    assert names(data) == [b"ROLE"]


async def test_each_password_goes_to_its_own_servers(start: Start, primary_of: Callable[..., Primary]) -> None:
    data = await start(server())
    asked = await start(sentinel(data.port))
    where = sentinels(asked, db=7, username="user", password="data-word")
    assert await found(primary_of(where, Sensitive("sentinel-word"))) == data.port
    assert data.commands[:2] == [[b"AUTH", b"user", b"data-word"], [b"SELECT", b"7"]]
    assert asked.commands[0] == [b"AUTH", b"sentinel-word"]
    assert b"data-word" not in b" ".join(word for words in asked.commands for word in words)


async def test_the_newest_epoch_is_believed_and_an_older_server_is_not_even_asked(
    start: Start, primary_of: Callable[..., Primary]
) -> None:
    old, new = await start(server()), await start(server())
    asked = [await start(sentinel(port, epoch=epoch)) for port, epoch in ((old.port, 1), (new.port, 2), (old.port, 1))]
    assert await found(primary_of(sentinels(*asked))) == new.port
    assert old.commands == []


@pytest.mark.parametrize("flags", ["master,failover_in_progress", "s_down,o_down,master,failover_in_progress"])
async def test_in_the_middle_of_a_failover_the_promoted_server_is_found(
    start: Start, primary_of: Callable[..., Primary], flags: str
) -> None:
    old, new = await start(server()), await start(server())
    asked = await start(sentinel(old.port, epoch=2, flags=flags, current=new.port))
    assert await found(primary_of(sentinels(asked))) == new.port
    assert old.commands == []


async def test_an_older_server_is_not_used_though_the_newest_is_gone(
    start: Start, primary_of: Callable[..., Primary]
) -> None:
    old, new = await start(server()), await start(lambda _: None)
    asked = [await start(sentinel(old.port, epoch=1)), await start(sentinel(new.port, epoch=2))]
    assert await refusal(primary_of(sentinels(*asked))) == "the store did not answer"
    assert old.commands == []


async def test_a_sentinel_that_is_silent_breaks_off_or_talks_nonsense_does_not_stop_the_search(
    start: Start, primary_of: Callable[..., Primary]
) -> None:
    data = await start(server())
    broken: list[Answer] = [
        lambda _: SILENT,
        lambda _: None,
        lambda _: b"*junk\r\n",
        lambda _: resp(1),
        lambda _: resp([["name"]]),
        lambda _: resp(Exception("ERR unknown command 'SENTINEL'")),
    ]
    asked = [await start(answer) for answer in [*broken, sentinel(data.port)]]
    assert await found(primary_of(sentinels(*asked))) == data.port


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        pytest.param([lambda _: SILENT, lambda _: None], "no sentinel answered", id="nobody answers"),
        pytest.param(
            [lambda _: None, sentinel(1, service="other")],
            f"the sentinels know no primary called {SERVICE}",
            id="another service",
        ),
        pytest.param([sentinel(1, flags="s_down,master")], "the sentinels see the primary as down", id="down"),
        pytest.param(
            [sentinel(1, epoch=1), sentinel(1, epoch=2, flags="s_down,o_down,master")],
            "the sentinels see the primary as down",
            id="down in the newest epoch",
        ),
        pytest.param(
            [lambda _: resp(Exception("NOAUTH Authentication required."))],
            "a sentinel refused us: is it one, and is store.sentinel_password right?",
            id="a password is missing",
        ),
        pytest.param(
            [lambda _: resp(Exception("ERR unknown command 'SENTINEL'"))],
            "a sentinel refused us: is it one, and is store.sentinel_password right?",
            id="no sentinel",
        ),
    ],
)
async def test_without_a_primary_to_name_the_store_is_unavailable_for_a_reason(
    start: Start, primary_of: Callable[..., Primary], answers: list[Answer], said: str
) -> None:
    asked = [await start(answer) for answer in answers]
    assert await refusal(primary_of(sentinels(*asked))) == said


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(server("slave"), "the server that is named as the primary is none", id="a replica"),
        pytest.param(server("sentinel"), "the server that is named as the primary is none", id="a sentinel"),
        pytest.param(lambda _: resp([]), "the server that is named as the primary is none", id="nonsense"),
        pytest.param(lambda _: resp(1), "the server that is named as the primary is none", id="a number"),
        pytest.param(lambda _: None, "the store did not answer", id="a server that breaks off"),
        pytest.param(lambda _: SILENT, "the store did not answer", id="a server that is silent"),
        pytest.param(
            lambda _: resp(Exception("NOAUTH Authentication required.")),
            "the store wants a password (NOAUTH): set it in store.url",
            id="a server that wants a password",
        ),
        pytest.param(
            lambda _: resp(Exception("LOADING the dataset")),
            "the store is loading its data (LOADING)",
            id="a server that is loading",
        ),
    ],
)
async def test_a_named_server_that_does_not_say_that_it_is_the_primary_is_refused(
    start: Start, primary_of: Callable[..., Primary], answer: Answer, said: str
) -> None:
    data = await start(answer)
    asked = await start(sentinel(data.port))
    assert await refusal(primary_of(sentinels(asked))) == said


# Nodes of a cluster.


async def test_the_primary_that_owns_our_slot_is_found(start: Start, primary_of: Callable[..., Primary]) -> None:
    owner = await start(server())
    replica, other = await start(server("slave")), await start(server())
    asked = await start(node((HOST, owner.port), (HOST, replica.port), also=[other.port]))
    assert await found(primary_of(cluster(asked))) == owner.port
    assert names(owner) == [b"ROLE", b"EXISTS"]
    assert replica.commands == other.commands == []


@pytest.mark.parametrize("host", [pytest.param(None, id="null"), pytest.param("", id="empty")])
async def test_a_node_without_a_host_is_where_the_asked_one_is(
    start: Start, primary_of: Callable[..., Primary], host: str | None
) -> None:
    owner = await start(server())
    asked = await start(node((host, owner.port)))
    assert await found(primary_of(cluster(asked))) == owner.port


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(lambda _: SILENT, id="silent"),
        pytest.param(lambda _: None, id="gone"),
        pytest.param(lambda _: b"*junk\r\n", id="junk"),
        pytest.param(lambda _: resp([[1]]), id="nonsense"),
        pytest.param(lambda _: resp(Exception("ERR This instance has cluster support disabled")), id="no cluster"),
        pytest.param(lambda _: resp([[SLOT, SLOT]]), id="without nodes"),
        pytest.param(node(), id="without an owner"),
        pytest.param(node(("?", 1)), id="without the owner's name"),
    ],
)
async def test_a_node_that_does_not_help_does_not_stop_the_search(
    start: Start, primary_of: Callable[..., Primary], behind: Answer
) -> None:
    owner = await start(server())
    asked = [await start(behind), await start(node((HOST, owner.port)))]
    assert await found(primary_of(cluster(*asked))) == owner.port


@pytest.mark.parametrize(
    "old",
    [
        pytest.param(server(error=f"MOVED {SLOT} {HOST}:1"), id="that gave the slot away"),
        pytest.param(server(error="CLUSTERDOWN The cluster is down"), id="that was cut off"),
        pytest.param(server("slave"), id="that was demoted"),
        pytest.param(lambda _: None, id="that is gone"),
    ],
)
async def test_a_node_that_is_behind_is_corrected_by_the_next(
    start: Start, primary_of: Callable[..., Primary], old: Answer
) -> None:
    former, owner = await start(old), await start(server())
    asked = [await start(node((HOST, former.port))) for _ in range(2)] + [await start(node((HOST, owner.port)))]
    assert await found(primary_of(cluster(*asked))) == owner.port
    assert names(former).count(b"ROLE") == 1


async def test_nodes_that_were_seen_are_asked_when_those_of_the_url_are_gone(
    start: Start, primary_of: Callable[..., Primary]
) -> None:
    owner = await start(server())
    seen = await start(node((HOST, owner.port)))
    gone = False
    tells = node((HOST, owner.port), also=[seen.port])
    listed = await start(lambda words: None if gone else tells(words))
    primary = primary_of(cluster(listed))
    assert await found(primary) == owner.port
    assert seen.commands == []
    gone = True
    primary.lost(await primary.clients())
    assert await found(primary) == owner.port
    assert names(seen) == [b"CLUSTER"]


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        pytest.param([lambda _: SILENT, lambda _: None], "no node of the cluster answered", id="nobody answers"),
        pytest.param([node(), lambda _: None], "the cluster has no primary for our slot", id="no owner"),
        pytest.param(
            [lambda _: resp(Exception("NOAUTH Authentication required.")), lambda _: None],
            "the store wants a password (NOAUTH): set it in store.url",
            id="a password is missing",
        ),
        pytest.param(
            [lambda _: resp(Exception("ERR This instance has cluster support disabled"))],
            "the store refused a command (ERR)",
            id="no cluster",
        ),
    ],
)
async def test_without_an_owner_of_our_slot_the_store_is_unavailable_for_a_reason(
    start: Start, primary_of: Callable[..., Primary], answers: list[Answer], said: str
) -> None:
    asked = [await start(answer) for answer in answers]
    assert await refusal(primary_of(cluster(*asked))) == said


async def test_a_search_ends_though_every_node_is_silent(start: Start, primary_of: Callable[..., Primary]) -> None:
    asked = [await start(lambda _: SILENT) for _ in range(7)]
    assert await refusal(primary_of(cluster(*asked))) == "the primary of the store was not found in time"
    assert asked[-1].commands == []


# Several who search.


async def test_all_who_ask_at_once_share_one_search(start: Start, primary_of: Callable[..., Primary]) -> None:
    data = await start(server())
    asked = await start(sentinel(data.port))
    primary = primary_of(sentinels(asked))
    first, *others = await asyncio.gather(*(primary.clients() for _ in range(20)))
    assert all(other is first for other in others)
    assert names(data) == [b"ROLE"]


async def test_all_who_ask_at_once_share_a_failure_and_the_next_searches_again(
    start: Start, primary_of: Callable[..., Primary]
) -> None:
    data = await start(server())
    port = 0
    asked = await start(lambda words: sentinel(port)(words) if port else None)
    primary = primary_of(sentinels(asked))
    said = await asyncio.gather(*(refusal(primary) for _ in range(20)))
    assert set(said) == {"no sentinel answered"}
    assert len(asked.commands) == 1
    port = data.port
    assert await found(primary) == data.port


async def test_a_search_whose_searcher_went_away_is_taken_up_by_the_next(
    start: Start, primary_of: Callable[..., Primary]
) -> None:
    data = await start(server())
    arrived = asyncio.Event()

    def answer(words: list[bytes]) -> bytes:
        if not arrived.is_set():
            arrived.set()
            return SILENT
        return sentinel(data.port)(words)

    asked = await start(answer)
    primary = primary_of(sentinels(asked))
    async with asyncio.TaskGroup() as tasks:
        goes = tasks.create_task(primary.clients())
        stays = tasks.create_task(found(primary))
        await arrived.wait()
        goes.cancel()
    assert stays.result() == data.port


async def test_clients_are_for_one_server_alone(start: Start, primary_of: Callable[..., Primary]) -> None:
    first, second = await start(server()), await start(server())
    named = first

    def answer(words: list[bytes]) -> bytes | None:
        return sentinel(named.port)(words)

    asked = await start(answer)
    primary = primary_of(sentinels(asked))
    old = await primary.clients()
    named = second
    primary.lost(old)
    new = await primary.clients()
    await new.reader.get("key")
    await new.writer.get("key")
    assert names(first) == [b"ROLE"]
    assert names(second) == [b"ROLE", b"GET", b"GET"]


# Many commands at once.


async def test_who_finds_all_connections_in_use_waits_and_is_told_when_it_was_in_vain(
    start: Start, primary_of: Callable[..., Primary]
) -> None:
    silent = await start(lambda _: SILENT)
    clients = await primary_of(Server(f"redis://{HOST}:{silent.port}")).clients()
    said = await asyncio.gather(*(clients.reader.get("key") for _ in range(40)), return_exceptions=True)
    kinds = [type(each) for each in said]
    assert kinds.count(RedisTimeoutError) == 32
    assert kinds.count(CrowdedError) == 8


async def test_connections_that_are_free_again_go_to_who_waited(
    start: Start, primary_of: Callable[..., Primary]
) -> None:
    found = await start(lambda words: resp(1) if words[0] == b"EXISTS" else resp(None))
    clients = await primary_of(Server(f"redis://{HOST}:{found.port}")).clients()
    assert await asyncio.gather(*(clients.writer.exists("key") for _ in range(300))) == [1] * 300


async def test_commands_that_hang_leave_what_authentication_asks_alone(
    start: Start, primary_of: Callable[..., Primary]
) -> None:
    found = await start(lambda words: resp(1) if words[0] == b"EXISTS" else SILENT)
    clients = await primary_of(Server(f"redis://{HOST}:{found.port}")).clients()
    hanging = asyncio.gather(*(clients.reader.get("key") for _ in range(100)), return_exceptions=True)
    await asyncio.sleep(0)
    assert await clients.guard.exists("key") == 1
    await hanging


@pytest.mark.parametrize(
    ("where", "channel"),
    [
        pytest.param(Server("redis://host"), "{zg}:changed", id="one server"),
        pytest.param(Server("redis://host/0"), "{zg}:changed", id="its first database"),
        pytest.param(Server("redis://host/3"), "{zg}:changed:3", id="another database"),
        pytest.param(Server("unix:///path?db=2"), "{zg}:changed:2", id="of a socket"),
        pytest.param(Sentinels((), SERVICE, 4, "", NOBODY), "{zg}:changed:4", id="under Sentinel"),
        pytest.param(Cluster((), "", NOBODY), "{zg}:changed", id="a cluster"),
    ],
)
async def test_each_database_has_a_channel_of_its_own(where: Server | Sentinels | Cluster, channel: str) -> None:
    """A channel knows no databases: one store's thaw would open another."""
    assert Primary(where).channel == channel
