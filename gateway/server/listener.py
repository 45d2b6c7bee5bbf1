"""Listening sockets, made before the workers that share them are forked."""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

BACKLOG: Final = 1024
"""Connections that may wait for a worker; the kernel has a limit of its own (net.core.somaxconn)."""

UNIX_MODE: Final = 0o660
"""Who may connect to a Unix socket, whatever the umask says: the gateway's user and its group. Whoever is to decide
more gives the socket a directory of its own: its mode limits further, its set-group-ID bit names another group.
"""


def open_listener(host: str, port: int) -> tuple[socket.socket, ...]:
    """Sockets that listen on each address of `host` ("": on all of this machine's), and block nobody.

    Raises OSError, of which `socket.gaierror` says that `host` is none. No program that we start inherits them, a
    fork does.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError:  # a label that is empty, or too long
        raise socket.gaierror(socket.EAI_NONAME, "not a host") from None
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


@contextlib.contextmanager
def unix_listener(path: str) -> Iterator[socket.socket]:
    """See `open_unix_listener`; on the way out the file is removed if it is still this one's, and the socket closed."""
    with open_unix_listener(path) as sock:
        mine = _identity(path)
        try:
            yield sock
        finally:
            # Another gateway may have been started while this one finished what was under way. What cannot be removed
            # is replaced by the next start.
            with contextlib.suppress(OSError):
                if _identity(path) == mine:
                    Path(path).unlink()


def open_unix_listener(path: str) -> socket.socket:
    """A socket that listens on a file at `path`, with UNIX_MODE, and blocks nobody. A fork inherits it.

    A socket file that nobody listens on is replaced. Raises OSError: EADDRINUSE when somebody does, EEXIST when `path`
    is something else. Of two that replace the same file in the same moment, the first may be left without one.
    """
    _make_way(path)
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        sock.setblocking(False)
        sock.bind(path)
        stack.callback(Path(path).unlink)
        # Until it listens every connection is refused: nobody comes in by leave of the umask.
        Path(path).chmod(UNIX_MODE)
        sock.listen(BACKLOG)
        stack.pop_all()
        return sock


def _make_way(path: str) -> None:
    """No file is at `path`. Raises OSError when there is one that is not ours to remove."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "there is something that is no socket", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
            return
        except FileNotFoundError:
            return  # whose it was has just removed it
        except BlockingIOError:
            pass  # as many wait for its owner as may (macOS says refused then, too)
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), path)


def _identity(path: str) -> tuple[int, int, int]:
    """What no other file has: an inode's number is given away again, but never with the same time of making."""
    found = os.lstat(path)
    return found.st_dev, found.st_ino, found.st_mtime_ns
