import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.processes import free_port

from gateway.server.listener import open_listener

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
