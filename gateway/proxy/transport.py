"""How the transports of both sides are set up: nothing is held but what is under way, and who is gone is noticed."""

import asyncio
import socket
from typing import Final

_WRITE_BUFFER: Final = 1
"""Bytes that a transport may hold before it says stop: what the kernel does not take is waited for. Not 0: where TLS
may hold nothing, it says stop when it holds nothing, and go at the next look.
"""
_READ_BUFFER: Final = 64 * 1024
"""Bytes that TLS may hold of what was not asked for yet."""
_SILENT: Final = 60
"""Seconds of silence after which the kernel asks whether the peer is there: who vanished would keep a stream."""


def set_up(transport: asyncio.Transport) -> None:
    """`transport`, which has just connected, is ours to use."""
    transport.set_write_buffer_limits(_WRITE_BUFFER)
    limit_reads = getattr(transport, "set_read_buffer_limits", None)  # of TLS
    if limit_reads is not None:
        limit_reads(_READ_BUFFER)
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _SILENT)
