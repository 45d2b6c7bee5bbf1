"""Listening sockets, made before the workers that share them are forked."""

import contextlib
import errno
import socket
from typing import Any, Final

BACKLOG: Final = 1024
"""Connections that may wait for a worker; the kernel has a limit of its own (net.core.somaxconn)."""


def open_listener(host: str, port: int) -> tuple[socket.socket, ...]:
    """Sockets that listen on each address of `host` ("": on all of this machine's), and block nobody.

    Raises OSError, of which `socket.gaierror` says that `host` is none. No program that we start inherits them, a
    fork does.
    """
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    missing: OSError | None = None
    with contextlib.ExitStack() as stack:
        opened = []
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
                _listen(sock, address)
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error  # such as ::1 for localhost, where IPv6 is switched off
            else:
                opened.append(sock)
        if missing is not None and not opened:
            raise missing
        stack.pop_all()
        return tuple(opened)


def _listen(sock: socket.socket, address: tuple[Any, ...]) -> None:
    sock.setblocking(False)
    # The connections of a gateway that has just ended linger, and keep nobody from its port.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # or 0.0.0.0 beside :: would be taken
    sock.bind(address)
    sock.listen(BACKLOG)
