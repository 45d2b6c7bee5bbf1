import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.member import member

KEYS = st.text("abC_1", min_size=1, max_size=2)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(b'{"a": {"b": "x"}}', "x", id="it is there"),
        pytest.param(b'{"z": [1e400], "a": {"z": {}, "b": "x", "c": 1}}', "x", id="among others"),
        pytest.param(b'{"a": {"b": 123456789012345678901234567890}}', 123456789012345678901234567890, id="a large one"),
        pytest.param(b'{"a": {"b": null}}', None, id="a null"),
        pytest.param(b'{"a": {}}', None, id="absent"),
        pytest.param(b"{}", None, id="absent on the way"),
        pytest.param(b'{"a": null}', None, id="a null on the way"),
        pytest.param(b'{"a": ["b"]}', None, id="a list on the way"),
        pytest.param(b'{"a": "b"}', None, id="a string on the way"),
        pytest.param(b"[]", None, id="no object"),
    ],
)
def test_a_member_is_found_by_its_keys(text: bytes, found: object) -> None:
    assert member(text, ("a", "b")) == found


def test_without_keys_it_is_the_whole() -> None:
    assert member(b'{"a": 1}', ()) == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b'{"a": {"b": "x"}', id="cut"),
        pytest.param(b'{"a": {"b": "x"}} x', id="something behind"),
        pytest.param(b'{"a": {"b": "\xff"}}', id="not UTF-8"),
        pytest.param(b'{"a": {"b": ' + b"[" * 10_000 + b"]" * 10_000 + b"}}", id="nested too deep"),
    ],
)
def test_what_is_no_json_is_an_error(text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        member(text, ("a", "b"))


@given(JSON, st.lists(KEYS, max_size=3).map(tuple))
def test_it_finds_what_a_walk_through_the_whole_finds(value: Any, path: tuple[str, ...]) -> None:
    found = value
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    assert member(json.dumps(value).encode(), path) == found
