"""Upstream, store and contestants, all of them running, each on its core."""

import contextlib
import http.client
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from support.processes import free_port, until

from contest.contestant import Contestant, nginx
from contest.launch import Launch, common_names, write_config
from contest.machine import Cores
from contest.program import Program
from contest.progress import say
from contest.token_set import FIRST, fill_store, write_files

SMALL: Final = "0" * 32
KIB_16: Final = "1" * 32
MIB: Final = "2" * 32
JOURNALLED: Final = "f" * 32
"""Record ids that the upstream answers each in its own way: see `config/upstream.conf`."""

OK: Final = 200
_SIZES: Final = {"16k.json": 16 * 1024, "1m.json": 1024 * 1024}
_UPSTREAM: Final = nginx("upstream", "upstream.conf")
_STORE: Final = Launch("store", ("redis-server", "@{config}"), "redis.conf")


class Broken(Exception):  # noqa: N818 - it says what is the case
    """The run cannot go on. What happened, and the end of a log."""


def path_of(zone: str, record: str = SMALL) -> str:
    """The path of a record."""
    return f"/client/v4/zones/{zone}/dns_records/{record}"


class Answer(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    body: bytes


def get(port: int, path: str, credential: str) -> Answer:
    """The answer to one request ("": without a credential). Raises OSError, HTTPException."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", path, headers={"Authorization": credential} if credential else {})
        answer = connection.getresponse()
        return Answer(answer.status, answer.read())


class Stand(msgspec.Struct, frozen=True, eq=False):
    """A contestant that runs, and where."""

    contestant: Contestant
    port: int
    program: Program | None


class Arena(msgspec.Struct, frozen=True, eq=False):
    """All that runs. `journal`: what the upstream was asked for of the record `JOURNALLED`, a JSON object a line."""

    directory: Path
    cores: Cores
    upstream: Program
    store: Program
    stands: dict[str, Stand]

    @property
    def journal(self) -> list[dict[str, str]]:
        """Each request that reached the record `JOURNALLED`: its target and its credential."""
        return [msgspec.json.decode(line) for line in (self.directory / "journal.jsonl").read_bytes().splitlines()]


def _wait(what: str, program: Program, port: int, path: str | None) -> None:
    """`program` answers on `port`. Raises Broken."""

    def answers() -> bool:
        if not program.is_running():
            raise Broken(f"{what} has ended: {program.last_words()}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            if path is not None:
                return get(port, path, FIRST.credential).status == OK
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        return False

    try:
        until(f"{what} answers", answers)
    except AssertionError as error:
        raise Broken(f"{error}: {program.last_words()}") from None


@contextlib.contextmanager
def open_arena(directory: Path, cores: Cores, contestants: Sequence[Contestant]) -> Iterator[Arena]:
    """All of them run, and answer; on the way out they have ended. Raises Broken."""
    names = common_names(directory)
    for name, size in _SIZES.items():
        (directory / name).write_bytes(b"x" * size)
    write_config("token_check.lua", directory / "token_check.lua", names)
    write_files(directory)
    upstream_port, store_port = int(names["upstream_port"]), int(names["store_port"])
    with contextlib.ExitStack() as stack:

        def start(launch: Launch, port: int, where: str, path: str | None) -> Program:
            program = launch.start(names, port, where)
            stack.callback(program.stop)
            _wait(launch.name, program, port, path)
            return program

        upstream = start(_UPSTREAM, upstream_port, cores.beside, path_of(FIRST.zone))
        store = start(_STORE, store_port, cores.one, None)
        fill_store(f"redis://127.0.0.1:{store_port}/0")
        stands = {}
        for each in contestants:
            if each.launch is None:
                stands[each.key] = Stand(each, upstream_port, None)
                continue
            say(f"starting {each.title}")
            port = free_port()
            where = cores.one if each.workers == 1 else cores.two
            stands[each.key] = Stand(each, port, start(each.launch, port, where, path_of(FIRST.zone)))
        yield Arena(directory, cores, upstream, store, stands)
