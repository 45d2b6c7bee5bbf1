import asyncio
import json
import os
import select
import subprocess
import sys
from typing import Any, Literal

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from support.records import TOKEN_ID, ZONE_A, secret_of
from unit.telemetry.captured import captured

from gateway.catalog.target import Target, split_target
from gateway.reason import Reason
from gateway.telemetry.access_log import LONGEST_PATH, MOST_WAITING, AccessLog
from gateway.telemetry.kind import Kind
from gateway.telemetry.latency import Latencies
from gateway.telemetry.redaction import Redaction

RECORDS = f"/client/v4/zones/{ZONE_A}/dns_records"
ROUTE = "GET /client/v4/zones/{zone_id}/dns_records"
AT = 1_800_000_000.25
OWNER, TARGET = "user:" + "a" * 32, "127.0.0.1:9000"
ALLOWED = Kind("GET", "cloudflare-dns", ROUTE, TOKEN_ID, None, "2001:db8::1", 200, OWNER, TARGET, True)
UNREADABLE = Kind("", "", "", "", Reason.BAD_REQUEST, "", 400)


class Request(msgspec.Struct):
    """A request that has ended."""

    kind: Kind = ALLOWED
    path: bytes | None = RECORDS.encode()
    request_id: bytes = b"request-0001"
    ended_at: float = AT
    seconds: float = 0.01234
    gateway_seconds: float = -1.0
    upstream_seconds: float = 0.00987
    bytes_in: int = 300
    bytes_out: int = 4000


class Written:
    """A log, what it has written, and what it has told of uses."""

    def __init__(self, **rest: Any) -> None:
        self.pieces: list[bytes] = []
        self.uses: list[tuple[object, ...]] = []
        self.log = AccessLog(
            **{"enabled": True, "write": self.pieces.append, "count_use": lambda *use: self.uses.append(use)} | rest
        )

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in b"".join(self.pieces).splitlines()]


@pytest.fixture
def written() -> Written:
    return Written()


async def line(written: Written, request: Request) -> dict[str, Any]:
    """What is logged of a request."""
    written.log.add(request)
    written.log.flush()
    (found,) = written.lines
    return found


async def test_an_allowed_request_is_named_by_its_token_s_id(written: Written) -> None:
    assert await line(written, Request()) == {
        "event": "request",
        "level": "info",
        "timestamp": "2027-01-15T08:00:00.250000Z",
        "worker": os.getpid(),
        "request_id": "request-0001",
        "method": "GET",
        "path": RECORDS,
        "api": "cloudflare-dns",
        "route": ROUTE,
        "token": TOKEN_ID,
        "owner": OWNER,
        "decision": "allow",
        "reason": None,
        "address": "2001:db8::1",
        "status": 200,
        "upstream": TARGET,
        "milliseconds": 12.3,
        "upstream_milliseconds": 9.9,
        "bytes_in": 300,
        "bytes_out": 4000,
    }


async def test_of_what_is_not_known_nothing_is_said(written: Written) -> None:
    found = await line(written, Request(UNREADABLE, path=None, upstream_seconds=-1.0))
    assert {key for key, value in found.items() if value is None} == {
        "method",
        "path",
        "api",
        "route",
        "token",
        "owner",
        "address",
        "upstream",
        "upstream_milliseconds",
    }
    assert (found["decision"], found["reason"], found["status"]) == ("deny", "bad_request", 400)


async def test_of_a_client_that_was_gone_before_the_end_line_and_counts_tell_and_its_token_was_used(
    written: Written,
) -> None:
    found = await line(written, Request(ALLOWED._replace(left=True)))
    assert (found["decision"], found["reason"], found["status"]) == ("allow", "client_gone", 200)
    assert written.log.counts == {("cloudflare-dns", ROUTE, "client_gone", 200): 1}
    assert [use[2] for use in written.uses] == ["allowed"]


async def test_who_looks_at_the_dashboard_is_named_and_his_token_was_not_used(written: Written) -> None:
    found = await line(written, Request(Kind("GET", "", "", TOKEN_ID, None, "127.0.0.1", 200, OWNER)))
    assert (found["token"], found["owner"], found["decision"]) == (TOKEN_ID, OWNER, None)
    assert written.uses == []


async def test_of_a_refusal_that_nobody_heard_the_reason_is_told(written: Written) -> None:
    found = await line(written, Request(UNREADABLE._replace(left=True)))
    assert (found["decision"], found["reason"]) == ("deny", "bad_request")


async def test_of_a_secret_in_the_path_its_id_stays(written: Written) -> None:
    secret = secret_of().reveal()
    found = await line(written, Request(path=f"/a/{secret}/b{secret}".encode()))
    assert found["path"] == f"/a/zgt_{TOKEN_ID}_.../bzgt_{TOKEN_ID}_..."


@pytest.mark.parametrize("length", [LONGEST_PATH, LONGEST_PATH + 1, 60_000])
async def test_a_line_is_never_longer_than_a_pipe_takes_whole(written: Written, length: int) -> None:
    path = b"/".ljust(length, b"a")
    found = await line(written, Request(ALLOWED._replace(method="M" * 64), path=path, request_id=b"r" * 128))
    assert found["path"] == path[:LONGEST_PATH].decode() + "..." * (length > LONGEST_PATH)
    assert len(b"".join(written.pieces)) <= select.PIPE_BUF


async def test_of_a_secret_that_is_cut_the_id_stays(written: Written) -> None:
    secret = secret_of().reveal().encode()
    path = b"/".ljust(LONGEST_PATH - 45, b"a") + secret
    assert (await line(written, Request(path=path)))["path"].endswith(f"azgt_{TOKEN_ID}_......")


@pytest.mark.parametrize("format_", ["json", "console"])
async def test_what_the_operator_wants_hidden_is_in_no_line_and_counted_all_the_same(
    format_: Literal["json", "console"],
) -> None:
    written = Written(format_=format_, redaction=Redaction(("address", "owner", "path", "token")))
    with captured() as logs:
        written.log.add(Request())
        written.log.flush()
    (found,) = logs or written.lines
    assert found["address"] == "2001:db8::/48"
    assert [found.get(name) for name in ("token", "owner", "path")] == [None] * 3
    ((token, _, _, address, *_),) = written.uses
    assert (token, address) == (TOKEN_ID, "2001:db8::1")


@given(st.binary(max_size=30).map(lambda raw: b"/" + raw))
async def test_whatever_target_was_judged_its_line_is_one_line_of_json_in_plain_ascii(raw: bytes) -> None:
    target = split_target(raw)
    written = Written()
    found = await line(written, Request(path=target.path if isinstance(target, Target) else None))
    (piece,) = written.pieces
    assert piece.count(b"\n") == 1
    assert all(b" "[0] <= octet <= b"~"[0] for octet in piece[:-1])
    assert found["path"] == (target.path.decode() if isinstance(target, Target) else None)


@given(st.characters(max_codepoint=0x7F).map(lambda each: f"/a{each}b"))
async def test_no_path_that_json_would_have_to_escape_is_judged_well(path: str) -> None:
    target = split_target(path.encode())
    if isinstance(target, Target):
        assert json.dumps(target.path.decode()) == f'"{target.path.decode()}"'


async def test_a_log_that_is_switched_off_says_nothing_and_counts_all_the_same() -> None:
    written = Written(enabled=False)
    written.log.add(Request())
    written.log.flush()
    assert written.pieces == []
    assert written.log.counts == {("cloudflare-dns", ROUTE, "", 200): 1}
    assert len(written.uses) == 1


@pytest.mark.parametrize(
    ("kind", "decision"),
    [
        pytest.param(ALLOWED, "allow", id="allowed"),
        pytest.param(ALLOWED._replace(reason=Reason.UPSTREAM_TIMEOUT, status=504), "allow", id="allowed, and failed"),
        pytest.param(ALLOWED._replace(reason=Reason.FORBIDDEN, status=403, allowed=False), "deny", id="refused"),
        pytest.param(Kind("GET", "", "", "", None, "127.0.0.1", 200), None, id="a page that asks for no token"),
    ],
)
async def test_what_was_decided_is_said_whatever_came_of_it(written: Written, kind: Kind, decision: str | None) -> None:
    assert (await line(written, Request(kind)))["decision"] == decision


# A sample.


@pytest.mark.parametrize(
    ("sample", "chance", "logged"),
    [
        pytest.param(1.0, 0.999, True, id="all are logged"),
        pytest.param(0.25, 0.24, True, id="it is in the sample"),
        pytest.param(0.25, 0.25, False, id="it is not"),
        pytest.param(0.0, 0.0, False, id="none is logged"),
    ],
)
@pytest.mark.parametrize("format_", ["json", "console"])
async def test_of_what_went_well_a_share_is_logged_and_all_is_counted(
    sample: float,
    chance: float,
    logged: bool,  # noqa: FBT001 - a case's data
    format_: str,
) -> None:
    written = Written(sample=sample, chance=lambda: chance, format_=format_)
    with captured() as logs:
        written.log.add(Request())
        written.log.flush()
    assert len(written.pieces) + len(logs) == logged
    assert written.log.counts == {("cloudflare-dns", ROUTE, "", 200): 1}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(UNREADABLE, id="that could not be read"),
        pytest.param(ALLOWED._replace(reason=Reason.FORBIDDEN, status=403, allowed=False), id="that was refused"),
        pytest.param(ALLOWED._replace(reason=Reason.RATE_LIMITED, status=429), id="that was too much"),
        pytest.param(ALLOWED._replace(status=500), id="at which the upstream failed"),
        pytest.param(ALLOWED._replace(left=True), id="whose client was gone"),
    ],
)
async def test_a_request_is_logged_whatever_the_sample(kind: Kind) -> None:
    written = Written(sample=0.0, chance=lambda: 0.999)
    assert (await line(written, Request(kind)))["status"] == kind.status


# In words, for people.


async def test_on_a_console_a_line_is_an_event_of_the_log() -> None:
    written = Written(format_="console")
    with captured() as logs:
        written.log.add(Request(path=f"/{secret_of().reveal()}".encode()))
        written.log.add(Request(UNREADABLE, path=None))
        written.log.flush()
    assert written.pieces == []
    allowed, unreadable = logs
    assert allowed == {
        "event": "request",
        "log_level": "info",
        "request_id": "request-0001",
        "path": f"/zgt_{TOKEN_ID}_...",
        "milliseconds": 12.3,
        "upstream_milliseconds": 9.9,
        "bytes_in": 300,
        "bytes_out": 4000,
        "decision": "allow",
        **{name: value for name, value in ALLOWED._asdict().items() if name not in {"allowed", "left"}},
    }
    assert (unreadable["reason"], unreadable["status"]) == (Reason.BAD_REQUEST, 400)


@pytest.mark.parametrize("renderer", [structlog.processors.JSONRenderer(), structlog.dev.ConsoleRenderer(colors=False)])
async def test_a_path_that_spells_a_line_end_stays_one_line(renderer: structlog.typing.Processor) -> None:
    target = split_target(b"/a%20b;%C2%85%E2%80%A8")
    assert isinstance(target, Target)
    written = Written(format_="console")
    with captured() as logs:
        written.log.add(Request(path=target.path))
        written.log.flush()
    shown = renderer(None, "info", dict(logs[0]))  # type: ignore[arg-type]
    assert len(str(shown).splitlines()) == 1


# When it is written.


async def test_what_has_ended_is_written_soon_and_together(written: Written) -> None:
    for number in range(3):
        written.log.add(Request(request_id=b"request-%04d" % number))
    assert written.pieces == []
    async with asyncio.timeout(10):
        while not written.pieces:  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0.01)
    assert [found["request_id"] for found in written.lines] == ["request-0000", "request-0001", "request-0002"]
    written.log.add(Request())
    written.log.flush()
    assert len(written.lines) == 4


async def test_a_great_many_are_written_at_once(written: Written) -> None:
    for _ in range(MOST_WAITING):
        written.log.add(Request())
    assert len(written.lines) == MOST_WAITING


async def test_nothing_is_written_of_nothing(written: Written) -> None:
    written.log.flush()
    assert written.pieces == []


async def test_what_waits_is_written_at_once_in_whole_lines(written: Written) -> None:
    """How many of them a pipe takes, standard error knows."""
    for _ in range(100):
        written.log.add(Request())
    written.log.flush()
    (piece,) = written.pieces
    assert piece.endswith(b"\n")
    assert piece.count(b"\n") == 100


WORKERS = """
import asyncio, os, sys
from gateway.reason import Reason
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.kind import Kind

class Request:
    kind = Kind("GET", "api", "GET /a", "f" * 32, None, "192.0.2.7", 200)
    path, request_id, ended_at, seconds = b"/a", b"request-0001", 0.0, 0.0
    gateway_seconds, upstream_seconds, bytes_in, bytes_out = -1.0, -1.0, 0, 0

async def log_many():
    log = AccessLog(enabled=True)
    for _ in range(5000):
        log.add(Request())
    log.flush()

for _ in range(2):
    if os.fork() == 0:
        asyncio.run(log_many())
        os._exit(0)
for _ in range(2):
    os.wait()
"""


def test_workers_that_write_into_one_pipe_do_not_write_into_each_other_s_lines() -> None:
    done = subprocess.run([sys.executable, "-c", WORKERS], stderr=subprocess.PIPE, check=True)
    # Some may be missing: on a busy machine we are a reader that is too slow for them.
    assert {json.loads(found)["status"] for found in done.stderr.splitlines()} == {200}
    assert done.stderr.endswith(b"\n")


def test_a_log_that_nobody_takes_changes_nothing() -> None:
    """Standard error may be a pipe whose reader has ended."""
    ours, theirs = os.pipe()
    os.close(ours)
    program = WORKERS.replace("os._exit(0)", "os._exit(7)").replace(
        "    os.wait()\n", "    if os.waitstatus_to_exitcode(os.wait()[1]) != 7: os._exit(1)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stderr=theirs, stdout=subprocess.PIPE, check=False)
    os.close(theirs)
    assert done.returncode == 0


# Counting.


async def test_requests_are_counted_by_api_route_reason_and_status(written: Written) -> None:
    refused = ALLOWED._replace(reason=Reason.FORBIDDEN, status=403)
    for kind in (ALLOWED, refused, ALLOWED._replace(address="192.0.2.7"), UNREADABLE, ALLOWED):
        written.log.add(Request(kind))
    written.log.flush()
    assert written.log.counts == {
        ("cloudflare-dns", ROUTE, "", 200): 3,
        ("cloudflare-dns", ROUTE, "forbidden", 403): 1,
        ("", "", "bad_request", 400): 1,
    }


async def test_uses_of_a_token_are_counted_together_and_nobody_else_s_at_all(written: Written) -> None:
    refused = ALLOWED._replace(reason=Reason.FORBIDDEN, status=403)
    for kind in (ALLOWED, refused, ALLOWED, UNREADABLE):
        written.log.add(Request(kind))
    written.log.flush()
    assert written.uses == [
        (TOKEN_ID, ROUTE, "allowed", "2001:db8::1", AT, 2),
        (TOKEN_ID, ROUTE, "forbidden", "2001:db8::1", AT, 1),
    ]
    written.log.flush()
    assert len(written.uses) == 2


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        pytest.param(0.0, "1970-01-01T00:00:00.000000Z", id="a whole second"),
        pytest.param(1_800_000_000.999999, "2027-01-15T08:00:00.999999Z", id="just before a second"),
        pytest.param(1_800_000_000.000001, "2027-01-15T08:00:00.000001Z", id="just behind one"),
    ],
)
async def test_the_time_is_that_of_the_end_in_utc(written: Written, at: float, shown: str) -> None:
    found = await line(written, Request(ended_at=at))
    # A microsecond is more than a float of this size tells apart.
    assert abs(int(found["timestamp"][-7:-1]) - int(shown[-7:-1])) <= 1
    assert found["timestamp"][:-7] == shown[:-7]


# Measuring.


async def test_how_long_requests_took_is_told_by_api_the_gateway_s_part_apart() -> None:
    latencies = Latencies()
    written = Written(latencies=latencies)
    written.log.add(Request(gateway_seconds=0.0002, upstream_seconds=0.02))
    written.log.add(Request(gateway_seconds=0.0002, upstream_seconds=-1.0))
    written.log.add(Request(ALLOWED._replace(api="token-api", upstream=""), seconds=0.3, upstream_seconds=-1.0))
    written.log.flush()
    assert {api: (sum(each.counts), round(each.total, 6)) for api, each in latencies.gateway.items()} == {
        "cloudflare-dns": (2, 0.0004),
        "token-api": (1, 0.3),
    }
    assert {api: (sum(each.counts), round(each.total, 6)) for api, each in latencies.upstream.items()} == {
        "cloudflare-dns": (1, 0.02)
    }


async def test_what_was_refused_is_in_no_measure() -> None:
    latencies = Latencies()
    written = Written(latencies=latencies)
    written.log.add(Request(UNREADABLE))
    written.log.add(Request(ALLOWED._replace(reason=Reason.FORBIDDEN, status=403, allowed=False)))
    written.log.flush()
    assert (latencies.gateway, latencies.upstream) == ({}, {})
