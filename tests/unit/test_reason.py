import json
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.reason import REFUSALS, Answer, Deny, Fault, Limit, Reason, refuse, succeed


def body_of(answer: Answer) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(answer.body)
    return whole


def field(answer: Answer, name: str) -> str | None:
    """The value of the one field of that name, or None."""
    found = [value for key, value in answer.fields if key.lower() == name.lower()]
    assert len(found) <= 1
    return found[0] if found else None


def test_the_table_is_closed() -> None:
    assert set(REFUSALS) == set(Reason)


ROWS = [
    (Reason.BAD_REQUEST, 400, 6003),
    (Reason.MISSING_CREDENTIALS, 401, 9106),
    (Reason.MALFORMED_CREDENTIALS, 400, 6003),
    (Reason.UNKNOWN_TOKEN, 401, 1000),
    (Reason.TOKEN_DISABLED, 401, 1000),
    (Reason.TOKEN_EXPIRED, 401, 1000),
    (Reason.TOKEN_NOT_YET_VALID, 401, 1000),
    (Reason.IP_DENIED, 403, 9109),
    (Reason.FORBIDDEN, 403, 10000),
    (Reason.CROSS_SITE, 403, 10403),
    (Reason.NO_ROUTE, 404, 7003),
    (Reason.METHOD_NOT_ALLOWED, 405, 7001),
    (Reason.BODY_TOO_LARGE, 413, 10413),
    (Reason.REQUEST_TIMEOUT, 408, 10408),
    (Reason.HEAD_TOO_LARGE, 431, 10431),
    (Reason.INVALID_BODY, 400, 10400),
    (Reason.EXCEEDS_CALLER, 403, 10000),
    (Reason.NOT_FOUND, 404, 10404),
    (Reason.PRECONDITION_FAILED, 412, 10412),
    (Reason.UNSUPPORTED_FRAMING, 501, 6003),
    (Reason.RATE_LIMITED, 429, 10429),
    (Reason.UPSTREAM_UNREACHABLE, 502, 10502),
    (Reason.UPSTREAM_TIMEOUT, 504, 10504),
    (Reason.STORE_UNAVAILABLE, 503, 10500),
    (Reason.NOT_REPLICATED, 503, 10500),
    (Reason.OVERLOADED, 503, 10500),
    (Reason.FROZEN, 503, 10500),
    (Reason.DRAINING, 503, 10500),
    (Reason.INTERNAL_ERROR, 503, 10500),
]


@pytest.mark.parametrize(("reason", "status", "code"), [pytest.param(*row, id=str(row[0])) for row in ROWS])
def test_each_reason_has_its_status_and_its_code(reason: Reason, status: int, code: int) -> None:
    answer = refuse(Deny(reason=reason))
    assert (answer.status, answer.reason) == (status, reason)
    assert body_of(answer)["errors"][0]["code"] == code


def test_the_rows_above_are_the_whole_table() -> None:
    assert {reason for reason, _, _ in ROWS} == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_each_refusal_is_the_envelope_as_json_and_is_not_to_be_stored(reason: Reason) -> None:
    deny = Deny(reason=reason, detail="what", path="/x", address="192.0.2.7", note="a note", needs=("DNS Read",))
    answer = refuse(deny)
    body = body_of(answer)
    assert body.keys() == {"success", "errors", "messages", "result"}
    assert (body["success"], body["result"]) == (False, None)
    assert body["messages"] == [{"code": REFUSALS[reason].code, "message": "a note"}]
    (error,) = body["errors"]
    assert error["message"]
    assert not set("{}") & set(error["message"])
    assert field(answer, "Content-Type") == "application/json"
    assert field(answer, "Cache-Control") == "no-store"


@pytest.mark.parametrize("reason", Reason)
def test_a_message_names_no_part_that_nothing_fills_in(reason: Reason) -> None:
    names = {name for _, name, _, _ in string.Formatter().parse(REFUSALS[reason].message) if name is not None}
    assert names <= {"detail", "path", "address"}


@pytest.mark.parametrize("reason", Reason)
def test_exactly_a_401_says_which_scheme_it_wants(reason: Reason) -> None:
    answer = refuse(Deny(reason=reason))
    assert field(answer, "WWW-Authenticate") == ("Bearer" if answer.status == 401 else None)


@pytest.mark.parametrize("reason", Reason)
def test_exactly_a_405_says_what_the_path_can_do(reason: Reason) -> None:
    answer = refuse(Deny(reason=reason, methods=("GET", "HEAD", "POST")))
    assert field(answer, "Allow") == ("GET, HEAD, POST" if answer.status == 405 else None)


def test_a_405_says_allow_even_when_there_is_nothing_to_say() -> None:
    assert field(refuse(Deny(reason=Reason.METHOD_NOT_ALLOWED)), "Allow") == ""


def test_malformed_credentials_carry_the_chain_that_clients_look_at() -> None:
    assert body_of(refuse(Deny(reason=Reason.MALFORMED_CREDENTIALS)))["errors"] == [
        {
            "code": 6003,
            "message": "Invalid request headers",
            "error_chain": [{"code": 6111, "message": "Invalid format for Authorization header"}],
        }
    ]


def test_no_other_refusal_has_a_chain() -> None:
    chained = {reason for reason in Reason if "error_chain" in body_of(refuse(Deny(reason=reason)))["errors"][0]}
    assert chained == {Reason.MALFORMED_CREDENTIALS}


def test_what_the_route_needs_is_named() -> None:
    answer = refuse(
        Deny(reason=Reason.FORBIDDEN, needs=("DNS Read", "DNS Write"), note="This needs DNS Read on this zone")
    )
    assert field(answer, "X-Accepted-Permissions") == "DNS Read, DNS Write"
    assert body_of(answer)["messages"] == [{"code": 10000, "message": "This needs DNS Read on this zone"}]


def test_what_nobody_asked_for_is_not_sent() -> None:
    answer = refuse(Deny(reason=Reason.FORBIDDEN))
    assert [name for name, _ in answer.fields] == ["Content-Type", "Cache-Control"]
    assert body_of(answer)["messages"] == []


@pytest.mark.parametrize(
    ("reason", "messages"),
    [
        pytest.param(Reason.UNKNOWN_TOKEN, [], id="unknown: nobody is told anything"),
        pytest.param(Reason.TOKEN_DISABLED, ["The token is disabled"], id="disabled"),
        pytest.param(Reason.TOKEN_EXPIRED, ["The token has expired"], id="expired"),
        pytest.param(Reason.TOKEN_NOT_YET_VALID, ["The token is not valid yet"], id="not yet valid"),
    ],
)
def test_only_who_proved_that_he_knows_the_secret_is_told_what_is_wrong_with_the_token(
    reason: Reason, messages: list[str]
) -> None:
    body = body_of(refuse(Deny(reason=reason)))
    assert body["errors"] == [{"code": 1000, "message": "Invalid API Token"}]
    assert [item["message"] for item in body["messages"]] == messages


@pytest.mark.parametrize("reason", Reason)
def test_a_write_of_unknown_outcome_must_not_be_repeated(reason: Reason) -> None:
    assert field(refuse(Deny(reason=reason, outcome_unknown=True)), "X-Should-Retry") == "false"


@pytest.mark.parametrize("reason", Reason)
def test_nor_may_one_that_is_stored_but_any_other_refusal_leaves_it_open(reason: Reason) -> None:
    expected = "false" if reason is Reason.NOT_REPLICATED else None
    assert field(refuse(Deny(reason=reason)), "X-Should-Retry") == expected


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        pytest.param(Reason.FROZEN, "The gateway is frozen: no token works until it is thawed", id="frozen"),
        pytest.param(
            Reason.NOT_REPLICATED,
            "The change is stored, not replicated: a failover may undo it",
            id="stored, not replicated",
        ),
        pytest.param(Reason.STORE_UNAVAILABLE, "The token store cannot be reached", id="the store is away"),
    ],
)
def test_what_the_store_refuses_is_told_apart_in_words(reason: Reason, message: str) -> None:
    (error,) = body_of(refuse(Deny(reason=reason)))["errors"]
    assert error["message"] == message


def test_a_limit_that_was_reached_is_told_with_the_time_to_wait() -> None:
    limit = Limit(name="unknown-tokens", quota=10, window=1, wait=1)
    answer = refuse(Deny(reason=Reason.RATE_LIMITED, limit=limit))
    assert field(answer, "Retry-After") == "1"
    assert field(answer, "Ratelimit-Policy") == '"unknown-tokens";q=10;w=1'
    assert field(answer, "Ratelimit") == '"unknown-tokens";r=0;t=1'


def test_without_a_limit_nothing_is_said_of_waiting() -> None:
    names = {name for reason in Reason for name, _ in refuse(Deny(reason=reason)).fields}
    assert not names & {"Retry-After", "Ratelimit-Policy", "Ratelimit"}


@pytest.mark.parametrize("reason", Reason)
def test_what_only_the_log_may_know_is_not_in_an_answer(reason: Reason) -> None:
    assert refuse(Deny(reason=reason, token_id="f" * 32, owner="user:x", route="GET /x")) == refuse(Deny(reason=reason))


def test_each_fault_of_a_body_is_an_error_with_its_pointer() -> None:
    faults = (Fault("/name", "missing"), Fault("/policies/0/effect", '"allow" or "deny"'), Fault("", "not JSON"))
    assert body_of(refuse(Deny(reason=Reason.INVALID_BODY, faults=faults)))["errors"] == [
        {"code": 10400, "message": "missing", "source": {"pointer": "/name"}},
        {"code": 10400, "message": '"allow" or "deny"', "source": {"pointer": "/policies/0/effect"}},
        {"code": 10400, "message": "not JSON", "source": {"pointer": ""}},
    ]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        pytest.param("/zones/x", "/zones/x", id="as it came"),
        pytest.param("/a\r\nSet-Cookie: b", "/a??Set-Cookie: b", id="line ends"),
        pytest.param("/\x1b[31m", "/?[31m", id="an escape sequence"),
        pytest.param("/\x7f\x00", "/??", id="DEL and nought"),
        pytest.param("/\u202e\u00e9", "/??", id="beyond ASCII"),
        pytest.param("/" + "x" * 199, "/" + "x" * 199, id="200 characters"),
        pytest.param("/" + "x" * 200, "/" + "x" * 199 + "...", id="201 characters"),
        pytest.param("/{detail}{0}", "/{detail}{0}", id="what looks like our own blanks"),
    ],
)
def test_the_path_is_echoed_in_printable_ascii(path: str, shown: str) -> None:
    (error,) = body_of(refuse(Deny(reason=Reason.NO_ROUTE, path=path)))["errors"]
    assert error["message"] == f"Could not route to {shown}, perhaps your object identifier is invalid?"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        pytest.param("2001:db8::1", "2001:db8::1", id="an address"),
        pytest.param("a\nb", "a?b", id="a line end"),
        pytest.param("x" * 65, "x" * 64 + "...", id="65 characters"),
    ],
)
def test_the_address_is_echoed_in_printable_ascii(address: str, shown: str) -> None:
    (error,) = body_of(refuse(Deny(reason=Reason.IP_DENIED, address=address)))["errors"]
    assert error["message"] == f"Cannot use the access token from location: {shown}"


@given(st.sampled_from(Reason), st.text(max_size=300), st.text(max_size=80))
@settings(deadline=None)
def test_whatever_the_path_and_the_address_are_the_answer_is_printable(reason: Reason, path: str, address: str) -> None:
    answer = refuse(Deny(reason=reason, path=path, address=address))
    (error,) = body_of(answer)["errors"]
    assert all(" " <= character <= "~" for character in error["message"])
    assert all(32 <= octet < 127 for octet in answer.body)
    assert all(value.isascii() and value.isprintable() for _, value in answer.fields)


@given(st.sampled_from(sorted(set(Reason) - {Reason.NO_ROUTE, Reason.IP_DENIED})), st.text(max_size=20))
@settings(deadline=None)
def test_no_other_refusal_echoes_either(reason: Reason, junk: str) -> None:
    plain, filled = (refuse(Deny(reason=reason, path=text, address=text)) for text in ("", f"<{junk}>"))
    assert filled == plain


def test_a_success_wears_the_same_envelope() -> None:
    answer = succeed({"id": "x"})
    assert (answer.status, answer.reason) == (200, None)
    assert body_of(answer) == {"success": True, "errors": [], "messages": [], "result": {"id": "x"}}
    assert answer.fields == (("Content-Type", "application/json"), ("Cache-Control", "no-store"))


def test_a_success_carries_messages_paging_and_fields() -> None:
    answer = succeed([], messages=[(10000, "fine")], result_info={"page": 1}, fields=[("ETag", '"x"')])
    assert body_of(answer) == {
        "success": True,
        "errors": [],
        "messages": [{"code": 10000, "message": "fine", "type": None}],
        "result": [],
        "result_info": {"page": 1},
    }
    assert field(answer, "ETag") == '"x"'
