import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.list_body import read_list, write_list

PATHS = st.lists(st.sampled_from(["result", "data", "x"]), max_size=3).map(tuple)
ITEMS = st.lists(st.integers() | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2), max_size=5)


def test_what_is_not_the_list_stays_as_it_came() -> None:
    body = b'{"success":true,"z":123456789012345678901234567890,"result":[{"id":"a"},{"id":"b"}],"new":{"x":[1.50]}}'
    found = read_list(body, ("result",))
    assert [bytes(item) for item in found.items] == [b'{"id":"a"}', b'{"id":"b"}']
    assert not found.has_info
    assert found.pages is None
    assert write_list(found, [b'{"id":"b"}'], None) == body.replace(b'{"id":"a"},', b"")


def test_totals_are_the_ones_that_are_told() -> None:
    body = b'{"result":[1,2],"result_info":{"page":1,"per_page":2,"total_count":9,"cursor":"x"},"success":true}'
    found = read_list(body, ("result",))
    assert found.has_info
    assert write_list(found, [b"1"], {"page": 1}) == b'{"result":[1],"result_info":{"page":1},"success":true}'


def test_the_body_itself_may_be_the_list() -> None:
    found = read_list(b' [ {"id": "a"} , 2 ] ', ())
    assert [bytes(item) for item in found.items] == [b'{"id": "a"}', b"2"]
    assert write_list(found, [b"2"], {"page": 1}) == b"[2]"


@pytest.mark.parametrize(
    ("info", "pages"),
    [
        pytest.param({"total_pages": 4}, 4, id="the pages"),
        pytest.param({"total_pages": 0}, 0, id="none"),
        pytest.param({"total_count": 101, "per_page": 50}, 3, id="the items"),
        pytest.param({"total_pages": 4, "total_count": 101, "per_page": 50}, 4, id="both"),
        pytest.param({"total_count": 101}, None, id="items, and no size"),
        pytest.param({"total_count": 101, "per_page": 0}, None, id="a size of nothing"),
        pytest.param({"total_pages": "4"}, None, id="a text"),
        pytest.param({"total_pages": True}, None, id="a truth"),
        pytest.param({"total_pages": -1}, None, id="less than none"),
        pytest.param({"total_pages": 4.0}, None, id="no whole number"),
        pytest.param({}, None, id="nothing"),
        pytest.param([], None, id="no object"),
        pytest.param(None, None, id="null"),
    ],
)
def test_how_many_pages_there_are_is_read_where_it_is_said(info: Any, pages: int | None) -> None:
    assert read_list(json.dumps({"result": [], "result_info": info}).encode(), ("result",)).pages == pages


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html>", id="no JSON"),
        pytest.param(b'{"result":[1,2', id="cut"),
        pytest.param(b'{"result":[1,]}', id="malformed"),
        pytest.param(b'{"result":{"id":"a"}}', id="an object for a list"),
        pytest.param(b'{"result":null}', id="null for a list"),
        pytest.param(b'{"results":[]}', id="no list"),
        pytest.param(b"[]", id="a list for an object"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"\xff":1,"result":[]}', id="not UTF-8"),
        pytest.param(b'{"result":[],"result_info":{"total_pages":"\xff"}}', id="totals that are not UTF-8"),
        pytest.param(b'{"result":' + b"[" * 10_000 + b"]" * 10_000 + b"}", id="nested too deep"),
    ],
)
def test_anything_else_is_an_error(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_list(body, ("result",))


@given(PATHS, ITEMS, st.integers())
def test_written_with_all_its_items_it_says_what_it_said(path: tuple[str, ...], items: list[Any], beside: int) -> None:
    value: Any = items
    for key in reversed(path):
        value = {"beside": beside, key: value}
    found = read_list(json.dumps(value).encode(), path)
    assert json.loads(write_list(found, [bytes(item) for item in found.items], None)) == value
