"""The words of the table: requests as a client sends them, and what must have become of them upstream."""

from support.raw_client import OPEN, ClientStep, Gets, refused
from support.raw_connection import Step
from support.raw_upstream import Script, Seen
from support.records import TOKEN_ID, ZONE_A, ZONE_B, secret_of

from .case import Case

SECRET = secret_of(TOKEN_ID).reveal()
BEARER = f"Authorization: Bearer {SECRET}"
ADMIN_ID = "e" * 32
"""Of a token with every right."""
HOST = "gateway.example"
TRUSTED = "127.0.0.2"
"""The address of a proxy that is believed."""

THINGS = f"/v1/zones/{ZONE_A}/records"
UP_THINGS = f"/up/base/zones/{ZONE_A}/records"
SOCKET = f"/v1/zones/{ZONE_A}/socket"
UP_SOCKET = f"/up/base/zones/{ZONE_A}/socket"
KEYED = f"/keyed/zones/{ZONE_A}/records"
"""Of an API with `credential_headers = ["X-API-Key", "Authorization"]`, no base path, and some `pass_headers`."""
UP_KEYED = f"/zones/{ZONE_A}/records"
NAMED = "/names/{}/records"
"""Of an API whose zones are DNS names; the token may edit `ZONE_NAME`."""
UP_NAMED = "/dns/{}/records"
ZONE_NAME = "alpha.example"
DEAD = f"/dead/zones/{ZONE_A}/records"
"""Of an API where nobody listens."""
OTHER_ZONE = f"/v1/zones/{ZONE_B}/records"
"""The token has no right there."""

UPSTREAM_KEYS = {"things": "Bearer the-one-key", "keyed": "the-other-key", "names": "Bearer a-third-key"}

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GETS_OK = Gets(200, body=b"ok", fields=())
CLOSED, RESET, ENDED = Step.CLOSED, Step.RESET, Step.ENDED
SHUT, BREAK, LEAVE = Step.SHUT, Step.BREAK, Step.LEAVE
POST_5 = "Content-Length: 5"
CHUNKED = "Transfer-Encoding: chunked"
HELLO_IN_A_CHUNK = b"5\r\nhello\r\n0\r\n\r\n"
NEVER_WHOLE: Script = (Step.MAYBE, Step.CUT)
"""For a request that cannot be finished: some of it may go up, never its end."""


def ask(
    *fields: str,
    method: str = "GET",
    target: str = THINGS,
    body: bytes = b"",
    version: str = "HTTP/1.1",
    host: str | None = HOST,
    credential: str | None = BEARER,
) -> bytes:
    """A request; `fields` as `Name: value`, behind Host and credential."""
    lines = [f"{method} {target} {version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    if credential is not None:
        lines.append(credential)
    return "\r\n".join([*lines, *fields, "", ""]).encode("latin-1") + body


def post(*fields: str, body: bytes = b"hello", target: str = THINGS, method: str = "POST") -> bytes:
    """A request with a body."""
    return ask(*fields, method=method, target=target, body=body)


def seen(
    *fields: str,
    method: str = "GET",
    target: str = UP_THINGS,
    body: bytes | None = b"",
    framing: str | None = "",
    reads_body: bool = True,
    **asserted: str | None,
) -> Seen:
    """What the upstream must have seen; `asserted` by field names with `_` for `-`."""
    api = "things" if target.startswith("/up/") else "names" if target.startswith("/dns/") else "keyed"
    keyed = api == "keyed"
    says: dict[str, str | None] = {
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": HOST,
        "x-forwarded-proto": "http",
        "via": "1.1 zonegate",
        "x-request-id": "",
        "x-token-id": TOKEN_ID,
        "authorization": None if keyed else UPSTREAM_KEYS[api],
        "x-api-key": UPSTREAM_KEYS[api] if keyed else None,
    }
    says |= {name.replace("_", "-"): value for name, value in asserted.items()}
    return Seen(
        line=f"{method} {target} HTTP/1.1",
        fields=fields,
        asserted=tuple(says.items()),
        body=body,
        framing=framing,
        reads_body=reads_body,
    )


def seen_hello(
    *fields: str, method: str = "POST", framing: str = "length", reads_body: bool = True, **asserted: str | None
) -> Seen:
    """A request with the body `hello`."""
    return seen(*fields, method=method, body=b"hello", framing=framing, reads_body=reads_body, **asserted)


def passes(
    name: str,
    request: bytes,
    sees: Seen | None = None,
    answer: bytes = OK,
    gets: Gets = GETS_OK,
    then: ClientStep | None = OPEN,
    *,
    closes: bool = False,
    source: str = "127.0.0.1",
) -> Case:
    """An allowed request and its answer, one of each. `closes`: behind its answer, the upstream does."""
    script: Script = (sees or seen(), answer)
    return Case(
        name,
        client=(request, gets) if then is None else (request, gets, then),
        upstream=((*script, LEAVE) if closes else script,),
        source=source,
        compares=True,
    )


def refuses(
    name: str,
    request: bytes,
    status: int,
    code: int,
    *has: str,
    then: ClientStep | None = OPEN,
    method: str = "GET",
) -> Case:
    """A request that is answered by the gateway; the upstream sees nothing of it."""
    gets = refused(status, code, *has, method=method)
    return Case(name, client=(request, gets) if then is None else (request, gets, then))


def bad(name: str, request: bytes, status: int = 400, code: int = 6003) -> Case:
    """A head that is refused: the connection closes."""
    return refuses(name, request, status, code, then=CLOSED)


def answers(name: str, answer: bytes, gets: Gets, then: ClientStep | None = OPEN) -> Case:
    """A plain GET, and an answer that is not so plain."""
    return passes(name, ask(), answer=answer, gets=gets, then=then)


def talk(
    name: str, client: tuple[ClientStep, ...], *scripts: Script, impatient: bool = False, takes_time: bool = False
) -> Case:
    """Anything with more turns."""
    return Case(name, client=client, upstream=scripts, impatient=impatient, takes_time=impatient or takes_time)
