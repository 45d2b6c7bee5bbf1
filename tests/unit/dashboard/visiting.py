"""A visit to the dashboard, as a listener hands it on."""

from collections.abc import Callable
from ipaddress import ip_address

from support.records import CATALOG

from gateway.access.principal import Principal
from gateway.dashboard.target import split_page_target
from gateway.proxy.field_line import KnownLines
from gateway.reason import Deny
from gateway.server.head import Head, HeadReader
from gateway.server.ports import Visit

HERE = ip_address("192.0.2.7")
HOST = "localhost:8081"
READER = HeadReader(
    KnownLines(),
    token_fields=CATALOG.credential_fields,
    secret_fields=CATALOG.credential_fields,
    shown={},
    split=split_page_target,
)


def _nobody_asks(_: Principal) -> None:
    """Who it is."""


def visit(
    target: str = "/dashboard/",
    *fields: str,
    method: str = "GET",
    body: bytes = b"",
    known: Callable[[Principal], None] = _nobody_asks,
) -> Visit:
    lines = "".join(f"{line}\r\n" for line in (f"{method} {target} HTTP/1.1", f"Host: {HOST}", *fields))
    head = READER.read(f"{lines}\r\n".encode())
    assert isinstance(head, Head)

    async def read(most: int) -> bytes | Deny:
        assert len(body) <= most
        return body

    return Visit(head, HERE, str(HERE), "a-request", read, known)
