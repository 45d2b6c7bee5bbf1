import asyncio
import socket

import pytest

from gateway.proxy.transport import set_up


async def test_a_connection_says_stop_at_once_and_is_asked_after_when_it_is_silent() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=accepted)
    with listener, client:
        set_up(transport)
        assert transport.get_write_buffer_limits()[1] <= 1
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        transport.close()
        await asyncio.sleep(0)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no Unix sockets here")
async def test_a_unix_socket_is_set_up_too() -> None:
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    with theirs:
        set_up(transport)
        assert transport.get_write_buffer_limits()[1] <= 1
        transport.close()
        await asyncio.sleep(0)
