import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import TOKEN_ID, secret_of

from gateway.reason import Fault
from gateway.tokens.leaked import MOST_SECRETS, read_report, reports_itself
from gateway.tokens.secret import Credential

SECRET = secret_of().reveal()


def read(*secrets: Any) -> tuple[Credential | Fault | None, ...]:
    return read_report(json.dumps({"secrets": secrets}).encode())


def test_a_report_has_its_secrets_in_their_order_and_none_for_what_is_no_secret() -> None:
    other = secret_of("e" * 32).reveal()
    found = read(other, "zgt_nothing", f" {SECRET}\n", SECRET[:-1] + "0")
    assert [each.token_id if isinstance(each, Credential) else each for each in found] == [
        "e" * 32,
        None,
        TOKEN_ID,
        None,
    ]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        pytest.param(b"", [""], id="empty"),
        pytest.param(b"[]", [""], id="no object"),
        pytest.param(b'{"secrets":[],"secrets":[]}', ["/secrets"], id="a key twice"),
        pytest.param(b"{}", ["/secrets"], id="no secrets"),
        pytest.param(b'{"secrets":"zgt_"}', ["/secrets"], id="no array"),
        pytest.param(b'{"secrets":[]}', ["/secrets"], id="none"),
        pytest.param(json.dumps({"secrets": ["x"] * (MOST_SECRETS + 1)}).encode(), ["/secrets"], id="too many"),
        pytest.param(b'{"secrets":["x",1,null]}', ["/secrets/1", "/secrets/2"], id="no strings"),
        pytest.param(b'{"secrets":["x"],"dry_run":true}', ["/dry_run"], id="an unknown field"),
    ],
)
def test_each_fault_of_a_report_is_told_with_its_place(body: bytes, pointers: list[str]) -> None:
    found = read_report(body)
    assert [each.pointer for each in found if isinstance(each, Fault)] == pointers
    assert len(found) == len(pointers)


def test_a_hundred_secrets_are_no_fault() -> None:
    assert len(read(*[SECRET] * MOST_SECRETS)) == MOST_SECRETS


@pytest.mark.parametrize(
    ("body", "is_reported"),
    [
        pytest.param(json.dumps({"secrets": ["x", SECRET]}).encode(), True, id="among others"),
        pytest.param(json.dumps({"secrets": ["x"]}).encode(), False, id="not there"),
        pytest.param(json.dumps({"secrets": [SECRET], "more": 1}).encode(), False, id="in a report with a fault"),
        pytest.param(json.dumps([SECRET]).encode(), False, id="in no report"),
    ],
)
def test_a_report_speaks_for_the_token_whose_secret_it_holds(body: bytes, *, is_reported: bool) -> None:
    assert reports_itself(body, TOKEN_ID) is is_reported


@given(st.binary(max_size=200))
def test_whatever_is_sent_it_is_read_or_has_faults_and_none_repeats_it(body: bytes) -> None:
    found = read_report(body)
    assert all(isinstance(each, Fault) for each in found)
