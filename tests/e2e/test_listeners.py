"""Who comes in, and as whom: Unix sockets, PROXY headers, TLS, and those that keep a place without a word."""

import asyncio
import contextlib
import json
import signal
import ssl
import struct
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Authority, Certificate
from support.processes import Gateway, until
from support.processes import clients_of as held_clients
from support.records import group_id, zone
from support.streaming import (
    PERMISSION,
    ZONE,
    Connect,
    StreamingUpstream,
    clients_of,
    section,
    started,
    streaming_gateway,
)

TRUSTED, STRANGER = "127.0.0.1", "127.0.0.2"
OURS = "203.0.113.7"
OURS_6 = "2001:db8::7"
ROOM = 8
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


@pytest.fixture(scope="module")
def upstream() -> Iterator[StreamingUpstream]:
    upstream = StreamingUpstream().start()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def token_for(gateway: Gateway, *networks: str) -> str:
    """The secret of a token that works from `networks` alone."""
    policy = {"effect": "allow", "permission_groups": [{"id": group_id(PERMISSION)}], "resources": {zone(ZONE): "*"}}
    made = gateway.create(name="from there", policies=[policy], condition={"request_ip": {"in": list(networks)}})
    return str(made["value"])


def logged(gateway: Gateway, request_id: str) -> dict[str, Any]:
    """The line of that request in the access log."""

    def find() -> dict[str, Any] | None:
        lines = [json.loads(line) for line in gateway.log().splitlines() if request_id in line]
        return next((line for line in lines if line["event"] == "request"), None)

    found: dict[str, Any] = until("it is logged", find)
    return found


# A load balancer that speaks PROXY protocol, beside a Unix socket whose peers nobody trusts; and little room.


@pytest.fixture(scope="module")
def behind_a_balancer(tmp_path_factory: pytest.TempPathFactory, upstream: StreamingUpstream) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("balancer")
    gateway = streaming_gateway(
        directory,
        {"streams": section("streams", [upstream.url])},
        listen=f"""
unix = "{directory / "socket"}"
proxy_protocol = true
trusted_proxies = ["{TRUSTED}/32"]
max_connections = {ROOM}
""",
    )
    with started(gateway):
        yield gateway


@pytest.fixture
async def balanced(behind_a_balancer: Gateway) -> AsyncIterator[Connect]:
    async with clients_of(behind_a_balancer) as connect:
        yield connect


def version_2(source: str, tlvs: bytes = b"") -> bytes:
    """A PROXY header of version 2, from `source`."""
    address = ip_address(source).packed
    rest = address * 2 + struct.pack("!HH", 40000, 443) + tlvs
    return SIGNATURE + b"\x21" + (b"\x11" if len(address) == 4 else b"\x21") + struct.pack("!H", len(rest)) + rest


HEADERS = [
    pytest.param(f"PROXY TCP4 {OURS} 192.0.2.1 40000 443\r\n".encode(), OURS, id="version 1"),
    pytest.param(f"PROXY TCP6 {OURS_6} 2001:db8::1 40000 443\r\n".encode(), OURS_6, id="version 1, IPv6"),
    pytest.param(f"PROXY TCP6 ::ffff:{OURS} ::1 40000 443\r\n".encode(), OURS, id="version 1, a mapped address"),
    pytest.param(version_2(OURS), OURS, id="version 2"),
    pytest.param(version_2(OURS_6, b"\x01\x00\x02h2"), OURS_6, id="version 2, IPv6, with a TLV"),
    pytest.param(b"PROXY UNKNOWN\r\n", TRUSTED, id="version 1, nobody"),
    pytest.param(SIGNATURE + b"\x20\x00\x00\x00", TRUSTED, id="version 2, the balancer itself"),
]


@pytest.mark.parametrize(("header", "address"), HEADERS)
async def test_who_a_trusted_balancer_names_is_the_client_everywhere(
    behind_a_balancer: Gateway, balanced: Connect, header: bytes, address: str
) -> None:
    allowed = await balanced(token_for(behind_a_balancer, address))
    allowed.writer.write(header)
    answer = await allowed.ask("GET", "see")
    assert answer.field_up("x-forwarded-for") == address
    assert logged(behind_a_balancer, answer.fields["x-request-id"])["address"] == address
    refused = await balanced(token_for(behind_a_balancer, "198.51.100.0/24"))
    refused.writer.write(header)
    answer = await refused.ask("GET", "see")
    assert (answer.status, answer.code) == (403, 9109)
    assert address in answer.body.decode()
    # It holds for the whole connection.
    assert (await refused.ask("GET", "see")).code == 9109


async def test_a_header_may_come_byte_by_byte_and_with_the_request_behind_it(balanced: Connect) -> None:
    client = await balanced()
    for byte in f"PROXY TCP4 {OURS} 192.0.2.1 40000 443\r\n".encode():
        client.writer.write(bytes([byte]))
        await client.writer.drain()
        await asyncio.sleep(0)
    assert (await client.ask("GET", "see")).field_up("x-forwarded-for") == OURS


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"", id="none"),
        pytest.param(b"PROXY TCP4 203.0.113.7\r\n", id="half a line"),
        pytest.param(b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\n", id="a line that ends in LF alone"),
        pytest.param(SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12), id="version 3"),
    ],
)
async def test_a_trusted_balancer_without_a_header_is_not_answered(balanced: Connect, header: bytes) -> None:
    client = await balanced()
    client.writer.write(header)
    client.begin("GET", "see")
    assert await client.rest() == b""


async def test_a_stranger_is_who_he_is(behind_a_balancer: Gateway, balanced: Connect) -> None:
    client = await balanced(token_for(behind_a_balancer, STRANGER), source=STRANGER)
    answer = await client.ask("GET", "see", f"X-Forwarded-For: {OURS}", f"Forwarded: for={OURS}", f"X-Real-IP: {OURS}")
    assert answer.field_up("x-forwarded-for") == STRANGER
    assert answer.field_up("forwarded") is answer.field_up("x-real-ip") is None
    assert logged(behind_a_balancer, answer.fields["x-request-id"])["address"] == STRANGER


@pytest.mark.parametrize(("header", "address"), HEADERS)
async def test_a_stranger_s_proxy_header_is_a_request_that_is_none(
    behind_a_balancer: Gateway, balanced: Connect, header: bytes, address: str
) -> None:
    client = await balanced(token_for(behind_a_balancer, address), source=STRANGER)
    client.writer.write(header)
    client.begin("GET", "see")
    answer = await client.answer()
    assert (answer.status, answer.code) == (400, 6003)
    assert await client.rest() == b""


async def test_a_peer_on_an_untrusted_unix_socket_has_no_address(behind_a_balancer: Gateway, balanced: Connect) -> None:
    where = str(behind_a_balancer.directory / "socket")
    client = await balanced(where=where)
    answer = await client.ask("GET", "see", f"X-Forwarded-For: {OURS}")
    assert answer.field_up("x-forwarded-for") == "unknown"
    assert logged(behind_a_balancer, answer.fields["x-request-id"])["address"] is None
    client = await balanced(token_for(behind_a_balancer, "0.0.0.0/0", "::/0"), where=where)
    answer = await client.ask("GET", "see", f"X-Forwarded-For: {OURS}")
    assert (answer.status, answer.code) == (403, 9109)


async def test_when_all_places_are_taken_who_has_been_idle_longest_makes_room(balanced: Connect) -> None:
    idle = [await balanced(source=STRANGER) for _ in range(ROOM)]
    for client in idle:
        assert (await client.ask("GET", "see")).status == 200
    assert (await (await balanced(source=STRANGER)).ask("GET", "see")).status == 200
    assert await idle[0].rest() == b""
    for client in idle[1:]:
        assert (await client.ask("GET", "see")).status == 200


async def test_who_comes_when_nobody_is_idle_hears_that_there_is_no_room(
    balanced: Connect, upstream: StreamingUpstream
) -> None:
    busy = [await balanced(source=STRANGER) for _ in range(ROOM)]
    for client in busy:
        client.begin("GET", "held?key=no-room")
    await asyncio.to_thread(upstream.wait_for, "no-room", ROOM)
    late = await balanced(source=STRANGER)
    answer = await late.answer()  # of nothing that it asked
    assert (answer.status, answer.code, answer.fields["connection"]) == (503, 10500, "close")
    assert await late.rest() == b""
    await asyncio.to_thread(upstream.release, "no-room")
    assert [(await client.answer()).status for client in busy] == [200] * ROOM
    assert (await (await balanced(source=STRANGER)).ask("GET", "see")).status == 200


# A listener with TLS and little patience, beside a Unix socket whose peers are trusted.


@pytest.fixture(scope="module")
def own(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """The files that the listener's certificate and key are in."""
    directory = tmp_path_factory.mktemp("own")
    own = Certificate(str(directory / "cert.pem"), str(directory / "key.pem"))
    put(own, authority.sign("localhost"))
    return own


def put(own: Certificate, other: Certificate) -> None:
    """`own` files hold what `other` files do."""
    Path(own.cert).write_bytes(Path(other.cert).read_bytes())
    Path(own.key).write_bytes(Path(other.key).read_bytes())


def reload(gateway: Gateway) -> None:
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGHUP)


@contextlib.contextmanager
def broken(own: Certificate) -> Iterator[None]:
    """The certificate's file holds something else."""
    good = Path(own.cert).read_bytes()
    Path(own.cert).write_bytes(b"no certificate")
    yield
    Path(own.cert).write_bytes(good)


@pytest.fixture(scope="module")
def secured(
    tmp_path_factory: pytest.TempPathFactory, upstream: StreamingUpstream, own: Certificate
) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("secured")
    gateway = streaming_gateway(
        directory,
        {"streams": section("streams", [upstream.url])},
        listen=f"""
unix = "{directory / "socket"}"
trusted_proxies = ["unix"]
tls = {{ cert = "{own.cert}", key = "{own.key}" }}
""",
        extra="[limits]\nheader_timeout = 1\n",
    )
    with started(gateway):
        yield gateway


@pytest.fixture
async def connect(secured: Gateway) -> AsyncIterator[Connect]:
    async with clients_of(secured) as connect:
        yield connect


@pytest.fixture
def tls(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.file)


async def test_a_trusted_unix_peer_says_who_the_client_is(secured: Gateway, connect: Connect) -> None:
    where = str(secured.directory / "socket")
    client = await connect(token_for(secured, OURS), where)
    answer = await client.ask("GET", "see", f"X-Forwarded-For: {OURS}", "X-Forwarded-Proto: https")
    assert answer.field_up("x-forwarded-for") == f"{OURS}, unknown"
    assert answer.field_up("x-forwarded-proto") == "https"
    assert logged(secured, answer.fields["x-request-id"])["address"] == OURS
    answer = await client.ask("GET", "see", f"X-Forwarded-For: {OURS}, 198.51.100.1")
    assert (answer.status, answer.code) == (403, 9109)
    assert "198.51.100.1" in answer.body.decode()


async def test_a_trusted_unix_peer_that_says_nothing_has_no_address(secured: Gateway, connect: Connect) -> None:
    where = str(secured.directory / "socket")
    assert (await (await connect(where=where)).ask("GET", "see")).status == 200
    answer = await (await connect(token_for(secured, "0.0.0.0/0", "::/0"), where)).ask("GET", "see")
    assert (answer.status, answer.code) == (403, 9109)


async def test_over_tls_all_is_as_without_it(secured: Gateway, connect: Connect, tls: ssl.SSLContext) -> None:
    client = await connect(token_for(secured, TRUSTED), tls=tls)
    answer = await client.ask("GET", "see", f"X-Forwarded-For: {OURS}")
    assert answer.field_up("x-forwarded-for") == TRUSTED
    assert answer.field_up("x-forwarded-proto") == "https"
    answer = await client.ask("POST", "sink", body=b"x" * 1_000_000)
    assert json.loads(answer.body)["size"] == 1_000_000
    client.begin("GET", "source?pieces=16")
    assert len((await client.answer()).body) == 16 * 65536


async def test_without_tls_nobody_is_answered_at_a_port_that_speaks_it(connect: Connect) -> None:
    client = await connect()
    client.begin("GET", "see")
    assert await client.rest() in (b"", b"\x15\x03\x01\x00\x02\x02\x46")  # at most an alert


async def test_a_new_certificate_is_shown_after_a_reload_and_a_broken_one_changes_nothing(
    secured: Gateway, connect: Connect, authority: Authority, own: Certificate, tls: ssl.SSLContext
) -> None:
    before = await connect(tls=tls)
    assert (await before.ask("GET", "see")).status == 200
    first = before.serial
    put(own, authority.sign("localhost", "127.0.0.1"))
    [worker] = secured.workers()
    reload(secured)
    await asyncio.to_thread(until, "a new worker is there", lambda: secured.workers() not in ([], [worker]))
    await asyncio.to_thread(until, "it is there alone", lambda: len(secured.workers()) == 1)
    after = await connect(tls=tls)
    assert (await after.ask("GET", "see")).status == 200
    second = after.serial
    assert second != first

    size = len(secured.log())
    with broken(own):
        reload(secured)
        await asyncio.to_thread(until, "it is said", lambda: "not reloaded" in secured.log()[size:])
    said = next(line for line in secured.log()[size:].splitlines() if "not reloaded" in line)
    assert "listen.tls.cert" in said
    assert own.cert in said
    third = await connect(tls=tls)
    assert (await third.ask("GET", "see")).status == 200
    assert third.serial == second
    assert (await after.ask("GET", "see")).status == 200


async def test_a_handshake_that_is_under_way_at_a_reload_comes_to_its_end_and_is_answered(
    secured: Gateway, connect: Connect, tls: ssl.SSLContext
) -> None:
    client = await connect()
    [worker], (_, port) = secured.workers(), client.writer.get_extra_info("sockname")
    await asyncio.to_thread(until, "it is let in", lambda: port in held_clients(worker, secured.port))
    size = len(secured.log())
    reload(secured)
    await asyncio.to_thread(until, "there is another worker", lambda: '"reloaded"' in secured.log()[size:])
    await client.writer.start_tls(tls, server_hostname="localhost")
    assert (await client.ask("GET", "see")).status == 200
    await asyncio.to_thread(until, "the first has ended", lambda: worker not in secured.workers())


# Who keeps a place without a word.


async def test_who_sends_nothing_is_shut_out(secured: Gateway, connect: Connect, tls: ssl.SSLContext) -> None:
    clients = [await connect(tls=tls), await connect(where=str(secured.directory / "socket"))]
    assert await asyncio.gather(*(client.rest() for client in clients)) == [b"", b""]


async def test_who_sends_half_a_head_is_told_and_shut_out(
    secured: Gateway, connect: Connect, tls: ssl.SSLContext
) -> None:
    where = str(secured.directory / "socket")
    first, again, secure = await connect(where=where), await connect(where=where), await connect(tls=tls)
    assert (await again.ask("GET", "see")).status == 200
    clients = (first, again, secure)
    for client in clients:
        client.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
    for client in clients:
        answer = await client.answer()
        assert (answer.status, answer.code, answer.fields["connection"]) == (408, 10408, "close")
    assert await asyncio.gather(*(client.rest() for client in (first, again))) == [b"", b""]


async def test_who_does_not_come_to_an_end_with_the_handshake_is_shut_out(connect: Connect) -> None:
    silent, begun = await connect(), await connect()
    begun.writer.write(b"\x16\x03\x01\x02")
    assert await asyncio.gather(silent.rest(), begun.rest()) == [b"", b""]


async def test_who_sends_a_head_byte_by_byte_has_no_more_time_for_it(secured: Gateway, connect: Connect) -> None:
    client = await connect(where=str(secured.directory / "socket"))

    async def drip() -> None:
        client.writer.write(b"GET / HTTP/1.1\r\n")
        while True:
            client.writer.write(b"X-Drip: drop\r\n")
            await asyncio.sleep(0.1)

    dripping = asyncio.ensure_future(drip())
    answer = await client.answer()
    dripping.cancel()
    assert (answer.status, answer.code) == (408, 10408)


# An upstream with TLS, which wants to know who we are.


@pytest.fixture(scope="module")
def to_tls(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("to-tls")
    stranger = Authority(directory, "stranger")
    ours, theirs = authority.sign("gateway.example"), stranger.sign("gateway.example")
    secure = StreamingUpstream("secure", tls=(authority.sign("127.0.0.1"), authority.file)).start()
    elsewhere = StreamingUpstream("elsewhere", tls=(authority.sign("elsewhere.example"), authority.file)).start()

    def tls(ca: str, shown: Certificate | None) -> str:
        own = f', cert = "{shown.cert}", key = "{shown.key}"' if shown else ""
        return f'tls = {{ ca = "{ca}"{own} }}'

    upstreams = {
        "secure": section("secure", [secure.url], tls(authority.file, ours)),
        "nameless": section("nameless", [secure.url], tls(authority.file, None)),
        "impostor": section("impostor", [secure.url], tls(authority.file, theirs)),
        "unknown": section("unknown", [secure.url], tls(stranger.file, ours)),
        "misnamed": section("misnamed", [elsewhere.url], tls(authority.file, ours)),
    }
    try:
        with started(streaming_gateway(directory, upstreams)) as gateway:
            yield gateway
    finally:
        secure.stop()
        elsewhere.stop()


@pytest.fixture
async def connect_to_tls(to_tls: Gateway) -> AsyncIterator[Connect]:
    async with clients_of(to_tls) as connect:
        yield connect


async def test_an_upstream_with_tls_is_asked_with_our_certificate(connect_to_tls: Connect) -> None:
    client = await connect_to_tls(api="secure")
    answers = [await client.ask("GET", "see") for _ in range(10)]
    assert {answer.seen["connection"] for answer in answers} == {1}
    answer = await client.ask("POST", "sink", body=b"x" * 1_000_000)
    assert json.loads(answer.body)["size"] == 1_000_000
    client.begin("GET", "source?pieces=16&framing=chunked")
    assert len((await client.answer()).body) == 16 * 65536


@pytest.mark.parametrize(
    "api",
    [
        pytest.param("nameless", id="we show nothing"),
        pytest.param("impostor", id="we show a stranger's"),
        pytest.param("unknown", id="it shows one of an authority that we do not believe"),
        pytest.param("misnamed", id="it shows another's name"),
    ],
)
async def test_without_certificates_that_both_believe_there_is_no_answer(connect_to_tls: Connect, api: str) -> None:
    client = await connect_to_tls(api=api)
    for _ in range(2):
        answer = await client.ask("GET", "see")
        assert (answer.status, answer.code) == (502, 10502)
