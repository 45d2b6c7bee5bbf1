"""TLS as our listeners speak it."""

import ssl
from typing import Final

from gateway.certificate import load_own

_PROTOCOLS: Final = ("http/1.1",)


def server_context(cert: str, key: str) -> ssl.SSLContext:
    """TLS 1.2 and 1.3 with the certificate in `cert` and the key in `key` (PEM files, read now and never again).

    A worker that is forked afterwards has all of it, the keys of session tickets too: a client resumes its session with
    any of them. New files come with new workers (SIGHUP). Raises BadTlsFile.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Compression tells a secret by its length (CRIME); a renegotiation costs us more than whoever asks for it.
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # Whoever offers `h2` alone is not refused here (`ssl` cannot), but its first line is no HTTP/1.1.
    context.set_alpn_protocols(list(_PROTOCOLS))
    load_own(context, cert, key)
    return context
