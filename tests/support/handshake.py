"""A TLS handshake over a pair of buffers: both ends in one thread, no socket, nothing to wait for."""

import ssl
from typing import NamedTuple


class Ends(NamedTuple):
    """Both ends after a handshake that both accepted."""

    client: ssl.SSLObject
    server: ssl.SSLObject


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str | None = "127.0.0.1") -> Ends:
    """Raises ssl.SSLError, of which SSLCertVerificationError says that one did not believe the other."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = Ends(
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    missing = set(ends)
    while missing:
        for end in ends:
            try:
                end.do_handshake()
                missing.discard(end)
            except ssl.SSLWantReadError:
                continue
    ends.server.write(b".")  # in TLS 1.3 the client is done before it hears what the server makes of its certificate
    assert ends.client.read(1) == b"."
    return ends
