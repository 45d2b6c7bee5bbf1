import json
from ipaddress import ip_address

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from support.records import TOKEN_ID, ZONE_A, secret_of
from unit.proxy.fakes import allowed
from unit.telemetry.captured import captured

from gateway.access.decision import Allow
from gateway.catalog.target import Target, split_target
from gateway.reason import Deny, Reason
from gateway.telemetry.access_log import AccessLog
from gateway.tokens.condition import Address

RECORDS = f"/client/v4/zones/{ZONE_A}/dns_records"


def line(
    *,
    target: Target | None = None,
    allow: Allow | None = None,
    deny: Deny | None = None,
    route: str = "",
    address: Address | None = None,
    method: str = "GET",
    enabled: bool = True,
) -> dict[str, object]:
    """What is logged of a request, or nothing."""
    with captured() as logs:
        AccessLog(enabled=enabled).write(
            request_id="request-0001",
            method=method,
            target=target,
            allow=allow,
            deny=deny,
            route=route,
            address=address,
            status=200,
            seconds=0.01234,
        )
    return dict(logs[0]) if logs else {}


def test_an_allowed_request_is_named_by_its_token_s_id() -> None:
    allow = allowed("GET", f"{RECORDS}?name=hush".encode())
    route = "GET /client/v4/zones/{zone_id}/dns_records"
    assert line(target=allow.target, allow=allow, route=route, address=ip_address("2001:db8::1")) == {
        "event": "request",
        "log_level": "info",
        "request_id": "request-0001",
        "method": "GET",
        "path": RECORDS,
        "api": "cloudflare-dns",
        "route": route,
        "token": TOKEN_ID,
        "reason": None,
        "address": "2001:db8::1",
        "status": 200,
        "milliseconds": 12.3,
    }


def test_a_refused_request_has_its_reason_and_nothing_that_was_not_proved() -> None:
    found = line(target=Target((b"nowhere",)), deny=Deny(reason=Reason.NO_ROUTE, path="/nowhere"))
    assert (found["reason"], found["path"]) == ("no_route", "/nowhere")
    assert (found["api"], found["route"], found["token"]) == (None, None, None)


def test_a_request_whose_target_was_not_judged_has_no_path() -> None:
    assert line(deny=Deny(reason=Reason.BAD_REQUEST))["path"] is None


def test_neither_query_nor_authority_nor_secret_is_in_the_line() -> None:
    allow = allowed("GET", f"http://hush{RECORDS}?token={secret_of().reveal()}".encode())
    text = json.dumps(line(target=allow.target, allow=allow))
    assert RECORDS in text
    assert "hush" not in text
    assert secret_of().reveal() not in text
    assert secret_of().reveal().rpartition("_")[2] not in text
    assert allow.principal.token.digests[0].hex not in text


def test_a_log_that_is_switched_off_says_nothing() -> None:
    assert line(enabled=False) == {}


@given(st.binary(max_size=30).map(lambda raw: b"/" + raw))
def test_whatever_target_was_judged_the_line_is_one_line_of_plain_ascii(raw: bytes) -> None:
    target = split_target(raw)
    found = line(target=target if isinstance(target, Target) else None)
    text = str(found["path"] or "")
    assert all(" " < character <= "~" for character in text)


@pytest.mark.parametrize("renderer", [structlog.processors.JSONRenderer(), structlog.dev.ConsoleRenderer(colors=False)])
def test_a_path_that_spells_a_line_end_stays_one_line(renderer: structlog.typing.Processor) -> None:
    target = split_target(b"/a%20b;%C2%85%E2%80%A8")
    assert isinstance(target, Target)
    shown = renderer(None, "info", line(target=target))  # type: ignore[arg-type]
    assert len(str(shown).splitlines()) == 1
