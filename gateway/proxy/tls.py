"""TLS as we speak it to an upstream."""

import ssl
from typing import Final

from gateway.certificate import BadTlsFile, check_readable, load_own, why

_PROTOCOLS: Final = ("http/1.1",)


def upstream_context(*, verify: bool, ca: str, cert: str, key: str) -> ssl.SSLContext:
    """TLS 1.2 and 1.3 for connections to one upstream. All files are PEM, read now and never again.

    `verify`: its certificate must come from an authority in `ca` ("": one that this machine trusts), and name the host
    that is connected to. `cert`, `key`: what we show when it asks who we are; "" for nothing, see `load_own`. Raises
    BadTlsFile.
    """
    # Not ssl.create_default_context: it writes the keys of all connections into the file that SSLKEYLOGFILE names.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(list(_PROTOCOLS))
    if ca:
        check_readable("ca", ca)
        try:
            context.load_verify_locations(cafile=ca)
        except ssl.SSLError as error:
            raise BadTlsFile("ca", ca, why(error, "not certificates in PEM")) from None
    else:
        context.load_default_certs()
    if cert:
        load_own(context, cert, key)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def is_ended(tls: ssl.SSLObject) -> bool:
    """Whether the peer itself has ended its stream (close_notify), which anybody on the way could cut instead.

    A body that ends with its connection is whole only then (RFC 9112 9.8). To be asked in `eof_received` alone, which
    asyncio calls for both, and uvloop only when it is true: earlier, it would take a byte of what comes.
    """
    try:
        return tls.read(1) == b""
    except ssl.SSLError:  # it waits for more
        return False
