import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.query import ListQuery, list_query, parameters
from gateway.reason import Deny, Reason

DEFAULT = ListQuery(page=1, per_page=20, descending=False, include_expired=False)


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        pytest.param(b"", DEFAULT, id="nothing"),
        pytest.param(b"page=3", ListQuery(3, 20, False, False), id="a page"),
        pytest.param(b"page=999999999", ListQuery(999999999, 20, False, False), id="a page far away"),
        pytest.param(b"per_page=5", ListQuery(1, 5, False, False), id="the smallest page"),
        pytest.param(b"per_page=50", ListQuery(1, 50, False, False), id="the largest page"),
        pytest.param(
            b"page=2.0&per_page=10.0", ListQuery(2, 10, False, False), id="numbers as Python's SDK may write them"
        ),
        pytest.param(b"direction=asc", DEFAULT, id="oldest first"),
        pytest.param(b"direction=desc", ListQuery(1, 20, True, False), id="newest first"),
        pytest.param(b"include_expired=true", ListQuery(1, 20, False, True), id="expired ones too"),
        pytest.param(b"include_expired=1", ListQuery(1, 20, False, True), id="expired ones too, in a digit"),
        pytest.param(b"include_expired=false", DEFAULT, id="no expired ones"),
        pytest.param(b"%70age=%33", ListQuery(3, 20, False, False), id="percent-encoded"),
        pytest.param(b"order=name&x", DEFAULT, id="parameters of others"),
    ],
)
def test_a_list_is_asked_for_by_page_direction_and_whether_expired_ones_count(query: bytes, asked: ListQuery) -> None:
    assert list_query(query) == asked


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(b"page=0", id="before the first page"),
        pytest.param(b"page=-1", id="a negative page"),
        pytest.param(b"page=1000000000", id="a page too far"),
        pytest.param(b"page=1.5", id="a fraction"),
        pytest.param(b"page=1e3", id="an exponent"),
        pytest.param(b"page=+1", id="a blank, as + is read"),
        pytest.param(b"page=", id="no page"),
        pytest.param(b"page", id="a name alone"),
        pytest.param(b"page=%D9%A1", id="another alphabet's digit"),
        pytest.param(b"page=%FF", id="a byte that is no text"),
        pytest.param(b"per_page=4", id="too small a page"),
        pytest.param(b"per_page=51", id="too large a page"),
        pytest.param(b"direction=DESC", id="a direction in another case"),
        pytest.param(b"direction=", id="no direction"),
        pytest.param(b"include_expired=yes", id="neither true nor false"),
        pytest.param(b"page=1&page=1", id="twice the same"),
        pytest.param(b"page=1&page=2", id="twice"),
        pytest.param(b"x=1&x=2", id="twice a parameter of others"),
    ],
)
def test_a_query_that_is_not_understood_is_refused_and_not_guessed(query: bytes) -> None:
    deny = list_query(query)
    assert isinstance(deny, Deny)
    assert deny.reason is Reason.BAD_REQUEST
    assert deny.detail.startswith("query: ")


def test_parameters_are_decoded_once() -> None:
    assert parameters(b"name=DNS%20Write&scope=a+b&empty=&plus=%2B&twice=%2541") == {
        "name": "DNS Write",
        "scope": "a b",
        "empty": "",
        "plus": "+",
        "twice": "%41",
    }


@given(st.text(alphabet=[chr(octet) for octet in range(0x21, 0x7F) if chr(octet) != "#"]).map(str.encode))
def test_any_query_that_a_target_may_have_gives_a_page_within_bounds_or_a_refusal(query: bytes) -> None:
    match list_query(query):
        case ListQuery() as asked:
            assert asked.page >= 1
            assert 5 <= asked.per_page <= 50
        case Deny() as deny:
            assert deny.reason is Reason.BAD_REQUEST
