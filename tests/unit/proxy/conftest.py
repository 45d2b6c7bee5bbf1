import ssl
from pathlib import Path

import pytest
from support.certificates import Authority

from gateway.proxy.tls import upstream_context


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS for an upstream at 127.0.0.1, and for those who believe its authority."""
    authority = Authority(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*authority.sign("127.0.0.1"))
    return server, upstream_context(verify=True, ca=authority.file, cert="", key="")
