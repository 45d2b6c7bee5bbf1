import asyncio
import contextlib
import errno
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop
from support.processes import free_port

from gateway.server.listener import open_listener, open_unix_listener, unix_listener

Opened = Callable[..., tuple[socket.socket, ...]]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """`opened(host, port)`: its sockets, closed after the test."""
    with contextlib.ExitStack() as stack:

        def opened(host: str, port: int) -> tuple[socket.socket, ...]:
            return tuple(stack.enter_context(contextlib.closing(sock)) for sock in open_listener(host, port))

        yield opened


def open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=ipv6)])
def test_an_address_is_one_socket_that_listens(opened: Opened, host: str) -> None:
    port = free_port()
    (sock,) = opened(host, port)
    with socket.create_connection((host, port)):
        assert sock.getsockname()[:2] == (host, port)


@pytest.mark.parametrize("host", ["localhost", pytest.param("", id="every address")])
def test_a_name_is_a_socket_for_each_of_its_addresses(opened: Opened, host: str) -> None:
    port = free_port()
    sockets = opened(host, port)
    assert len({sock.family for sock in sockets}) == len(sockets)
    with socket.create_connection(("127.0.0.1", port)):
        pass


def test_a_socket_blocks_nobody_and_is_for_forks_alone(opened: Opened) -> None:
    for sock in opened("127.0.0.1", free_port()):
        assert not sock.getblocking()
        assert not sock.get_inheritable()
        with pytest.raises(BlockingIOError):
            sock.accept()


def test_a_port_whose_last_connection_lingers_can_be_had(opened: Opened) -> None:
    """Whoever closes first keeps the address for a minute (TIME_WAIT)."""
    port = free_port()
    (sock,) = opened("127.0.0.1", port)
    with socket.create_connection(("127.0.0.1", port)) as client:
        sock.setblocking(True)
        server, _ = sock.accept()
        server.close()
        assert client.recv(1) == b""
    sock.close()
    assert opened("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "error"),
    [
        pytest.param("192.0.2.1", OSError, id="another machine's address"),
        pytest.param("no.such.host.invalid", socket.gaierror, id="no host"),
        pytest.param("127.0.0.1", OSError, id="a port that is taken"),
    ],
)
def test_what_cannot_be_had_leaves_no_socket_open(host: str, error: type[OSError]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        before = open_files()
        with pytest.raises(error):
            open_listener(host, taken.getsockname()[1])
        assert open_files() == before


# On a Unix socket.


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where nothing is yet: relative, because a test's directory may be longer than a socket's path."""
    monkeypatch.chdir(tmp_path)
    return "zonegate.sock"


def connect(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


def abandon(path: str) -> None:
    """A socket file that nobody listens on: what a gateway that was killed leaves."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)


def test_a_unix_socket_listens_blocks_nobody_and_is_for_forks_alone(path: str) -> None:
    with unix_listener(path) as sock:
        assert not sock.getblocking()
        assert not sock.get_inheritable()
        with connect(path) as client:
            accepted, _ = sock.accept()
            with accepted:
                client.sendall(b"word")
                assert accepted.recv(100) == b"word"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_user_and_group_may_connect_whatever_the_umask_says(path: str, umask: int) -> None:
    before = os.umask(umask)
    try:
        with unix_listener(path):
            assert stat.S_IMODE(os.lstat(path).st_mode) == 0o660
    finally:
        os.umask(before)


def test_the_file_goes_with_the_socket(path: str) -> None:
    with unix_listener(path) as sock:
        pass
    assert not os.path.lexists(path)
    assert sock.fileno() == -1


def test_the_file_goes_even_when_what_goes_on_beside_it_fails(path: str) -> None:
    with pytest.raises(ZeroDivisionError), unix_listener(path):
        raise ZeroDivisionError
    assert not os.path.lexists(path)


def test_a_file_that_is_gone_already_is_not_missed(path: str) -> None:
    with unix_listener(path):
        Path(path).unlink()
    assert not os.path.lexists(path)


def test_a_socket_that_is_closed_already_leaves_no_file(path: str) -> None:
    with unix_listener(path) as sock:
        sock.close()
    assert not os.path.lexists(path)


def test_a_successor_s_file_is_left_alone(path: str) -> None:
    """The first finishes what is under way, and listens no more; the second has been started meanwhile."""
    with contextlib.ExitStack() as second:
        with unix_listener(path) as first:
            first.close()
            sock = second.enter_context(unix_listener(path))
        with connect(path):
            sock.accept()[0].close()


def test_a_file_that_nobody_listens_on_is_replaced(path: str) -> None:
    abandon(path)
    with pytest.raises(ConnectionRefusedError):
        connect(path)
    with unix_listener(path), connect(path):
        pass


@pytest.mark.parametrize(
    "waiting",
    [
        pytest.param(0, id="idle"),
        pytest.param(
            1,
            id="with as many waiting as may",
            marks=pytest.mark.skipif(sys.platform == "darwin", reason="macOS refuses then, as if nobody listened"),
        ),
    ],
)
def test_a_socket_in_use_is_refused_and_stays(path: str, waiting: int) -> None:
    with contextlib.ExitStack() as stack:
        taken = stack.enter_context(socket.socket(socket.AF_UNIX))
        taken.bind(path)
        taken.listen(0)
        clients = [stack.enter_context(connect(path)) for _ in range(waiting)]
        before, files = os.lstat(path).st_ino, open_files()
        with pytest.raises(OSError, match=r"zonegate\.sock") as caught:
            open_unix_listener(path)
        assert caught.value.errno == errno.EADDRINUSE
        assert (os.lstat(path).st_ino, open_files()) == (before, files)
        assert len(clients) == waiting


def a_file(path: str) -> None:
    Path(path).write_text("dear data")


def a_link(path: str) -> None:
    abandon("elsewhere.sock")
    Path(path).symlink_to("elsewhere.sock")


@pytest.mark.parametrize(
    "make",
    [
        a_file,
        a_link,
        pytest.param(os.mkdir, id="a_directory"),
        pytest.param(os.mkfifo, id="a_pipe"),
    ],
)
def test_what_is_no_socket_is_refused_and_stays(path: str, make: Callable[[str], None]) -> None:
    make(path)
    before, files = os.lstat(path), open_files()
    with pytest.raises(FileExistsError, match=r"no socket: 'zonegate\.sock'"):
        open_unix_listener(path)
    assert (os.lstat(path), open_files()) == (before, files)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        pytest.param("none/zonegate.sock", FileNotFoundError, id="no directory"),
        pytest.param("x" * 200, OSError, id="a path that is too long"),
    ],
)
def test_a_socket_that_cannot_be_had_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, error: type[OSError]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = open_files()
    with pytest.raises(error):
        open_unix_listener(path)
    assert open_files() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_worker_that_ends_leaves_the_file_to_the_others(
    path: str, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def serve_once(sock: socket.socket) -> bytes:
        def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"word")
            writer.close()

        def protocol() -> asyncio.StreamReaderProtocol:
            return asyncio.StreamReaderProtocol(asyncio.StreamReader(), answer)

        async with await asyncio.get_running_loop().create_server(protocol, sock=sock), asyncio.timeout(10):
            reader, writer = await asyncio.open_unix_connection(path)
            said = await reader.read()
            writer.close()
            await writer.wait_closed()
            return said

    with unix_listener(path) as sock:
        for _ in range(2):
            with asyncio.Runner(loop_factory=loop) as runner:
                assert runner.run(serve_once(sock.dup())) == b"word"
        assert os.path.lexists(path)
