import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import ACCOUNT_A, ACCOUNT_B, ZONE_A

from gateway.access.body import named_in
from gateway.catalog.api import Api, InBody
from gateway.reason import Fault
from gateway.tokens.resource import Touched, Zone, ZonesOf

BY_ID = Api("things", (), frozenset({"authorization"}), "id", frozenset())
BY_NAME = Api("names", (), frozenset({"authorization"}), "dns-name", frozenset())
NAME = InBody("zone", ("name",))
ACCOUNT = InBody("zones-of", ("account", "id"))


def named(value: Any, where: InBody, api: Api = BY_ID) -> Touched | tuple[Fault, ...] | None:
    return named_in(value if isinstance(value, bytes) else json.dumps(value).encode(), where, api)


@pytest.mark.parametrize(
    ("value", "where", "api", "touched"),
    [
        pytest.param({"name": ZONE_A}, NAME, BY_ID, Zone(ZONE_A), id="a zone by id"),
        pytest.param({"name": "alpha.example"}, NAME, BY_NAME, Zone("alpha.example."), id="a zone by name"),
        pytest.param({"name": "Alpha.EXAMPLE."}, NAME, BY_NAME, Zone("alpha.example."), id="in another spelling"),
        pytest.param({"name": "0/25.example"}, NAME, BY_NAME, Zone("0/25.example."), id="with a slash"),
        pytest.param({"account": {"id": ACCOUNT_A}}, ACCOUNT, BY_ID, ZonesOf(ACCOUNT_A), id="an account"),
        pytest.param(
            {"id": ACCOUNT_B, "account": {"name": "x", "id": ACCOUNT_A}, "x": {"id": ACCOUNT_B}},
            ACCOUNT,
            BY_ID,
            ZonesOf(ACCOUNT_A),
            id="among other things",
        ),
        pytest.param(
            b' {"\\u0061ccount": {"id": "shop"}} ', ACCOUNT, BY_ID, ZonesOf("shop"), id="a key with an escape"
        ),
    ],
)
def test_a_body_names_a_zone_or_an_account(value: Any, where: InBody, api: Api, touched: Touched) -> None:
    assert named(value, where, api) == touched


@pytest.mark.parametrize(
    ("value", "where", "api"),
    [
        pytest.param(b"", ACCOUNT, BY_ID, id="no body"),
        pytest.param({}, ACCOUNT, BY_ID, id="an empty object"),
        pytest.param([{"account": {"id": ACCOUNT_A}}], ACCOUNT, BY_ID, id="an array"),
        pytest.param(ACCOUNT_A, ACCOUNT, BY_ID, id="a string"),
        pytest.param(None, ACCOUNT, BY_ID, id="null"),
        pytest.param({"account": ACCOUNT_A}, ACCOUNT, BY_ID, id="a string on the way"),
        pytest.param({"account": [{"id": ACCOUNT_A}]}, ACCOUNT, BY_ID, id="an array on the way"),
        pytest.param({"account": {}}, ACCOUNT, BY_ID, id="nothing at the end of the way"),
        pytest.param({"account": {"id": None}}, ACCOUNT, BY_ID, id="null at the end of the way"),
        pytest.param({"account": {"id": {"id": ACCOUNT_A}}}, ACCOUNT, BY_ID, id="an object at the end of the way"),
        pytest.param({"account": {"id": ""}}, ACCOUNT, BY_ID, id="an empty name"),
        pytest.param({"account": {"id": "*"}}, ACCOUNT, BY_ID, id="a star"),
        pytest.param({"account": {"id": f"{ACCOUNT_A}\n"}}, ACCOUNT, BY_ID, id="a line end"),
        pytest.param({"account": {"id": "\u0663"}}, ACCOUNT, BY_ID, id="a digit beyond ASCII"),
        pytest.param({"name": "alpha.example"}, NAME, BY_ID, id="a name where zones have ids"),
        pytest.param({"name": "a..b"}, NAME, BY_NAME, id="an empty label"),
        pytest.param({"name": "\\097lpha.example"}, NAME, BY_NAME, id="an escape of DNS"),
        pytest.param({"name": "alpha\\.example"}, NAME, BY_NAME, id="an escaped dot"),
        pytest.param({"name": "0=2F25.example"}, NAME, BY_NAME, id="an escape of paths"),
        pytest.param({"name": "alpha.example\0.x"}, NAME, BY_NAME, id="a nought"),
        pytest.param({"name": "\u00e4lpha.example"}, NAME, BY_NAME, id="a letter beyond ASCII"),
    ],
)
def test_what_no_policy_could_name_is_not_named(value: Any, where: InBody, api: Api) -> None:
    assert named(value, where, api) is None


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        pytest.param(b"{", [""], id="no JSON"),
        pytest.param(b"account.id=x", [""], id="a form"),
        pytest.param(b"\x1f\x8b\x08", [""], id="no text"),
        pytest.param(b'\xef\xbb\xbf{"account": {"id": "x"}}', [""], id="a byte order mark"),
        pytest.param(b'{"account": {"id": "a", "id": "b"}}', ["/account/id"], id="one key twice"),
        pytest.param(b'{"x": 1, "x": 2, "account": {"id": "a"}}', ["/x"], id="some other key twice"),
        pytest.param(b'{"account": {"id": "a"}, "n": NaN}', ["/n"], id="NaN"),
        pytest.param(b'{"account": {"id": "a"}, "Account": {"id": "b"}}', ["/Account"], id="a key in another case"),
        pytest.param(b'{"account": {"id": "a", "ID": "b"}}', ["/account/ID"], id="the last key in another case"),
        pytest.param(b'{"ACCOUNT": {"id": "b"}}', ["/ACCOUNT"], id="only in another case"),
        pytest.param(b'{"account": {"id": "a", "id\\u0000x": "b"}}', ["/account"], id="a key that ends in a nought"),
        pytest.param('{"account": {"id": "a", "\u0130d": "b"}}'.encode(), [], id="a letter that is no i"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(body: bytes, pointers: list[str]) -> None:
    found = named_in(body, ACCOUNT, BY_ID)
    assert [fault.pointer for fault in found] == pointers if isinstance(found, tuple) else not pointers


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.just(ACCOUNT_A),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["account", "id", "Account", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(json_values)
def test_only_the_member_at_the_end_of_the_way_names_anything(value: Any) -> None:
    found = named(value, ACCOUNT)
    if isinstance(found, ZonesOf):
        assert value["account"]["id"] == found.account


@given(st.binary(max_size=60))
def test_no_body_breaks_the_reader(body: bytes) -> None:
    found = named_in(body, ACCOUNT, BY_ID)
    assert found is None or isinstance(found, tuple | ZonesOf)
