import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.page import Page, query_up, read_page
from gateway.reason import Deny, Reason

PAGES = ("page", "per_page")


@pytest.mark.parametrize(
    ("query", "page", "others"),
    [
        pytest.param(None, Page(1, 20), b"", id="no query"),
        pytest.param(b"", Page(1, 20), b"", id="an empty one"),
        pytest.param(b"page=3&per_page=5", Page(3, 5), b"", id="both"),
        pytest.param(b"per_page=50", Page(1, 50), b"", id="a size alone"),
        pytest.param(b"per_page=1000000", Page(1, 1000), b"", id="a size that is cut"),
        pytest.param(b"name=x&page=2&order=name", Page(2, 20), b"name=x&order=name", id="among others"),
        pytest.param(b"p%61ge=2&per%5fpage=3", Page(2, 3), b"", id="in another spelling"),
        pytest.param(b"a=%20&&b&", Page(1, 20), b"a=%20&b", id="others as they came"),
        pytest.param(b"pages=2&Page=3", Page(1, 20), b"pages=2&Page=3", id="names that are like it"),
    ],
)
def test_the_page_is_taken_out_of_the_query(query: bytes | None, page: Page, others: bytes) -> None:
    assert read_page(query, PAGES) == (page, others)


@pytest.mark.parametrize(
    "query",
    [
        b"page=0",
        b"page=",
        b"page",
        b"page=-1",
        b"page=+1",
        b"page=x",
        b"page=1.0",
        b"page=1e3",
        b"page=%31",
        b"page=1234567890",
        b"page=1&page=1",
        b"per_page=0",
        b"per_page=2&per%5Fpage=3",
    ],
    ids=str,
)
def test_nonsense_is_refused(query: bytes) -> None:
    answer = read_page(query, PAGES)
    assert isinstance(answer, Deny)
    assert answer.reason is Reason.BAD_REQUEST


def test_upstreams_are_asked_for_pages_of_their_own() -> None:
    assert query_up(b"", PAGES, 1) == b"page=1&per_page=50"
    assert query_up(b"name=x", PAGES, 7) == b"name=x&page=7&per_page=50"


@given(st.integers(0, 300), st.integers(1, 40))
def test_all_pages_together_are_the_list(total: int, size: int) -> None:
    items = list(range(total))
    pages = Page(1, size).info(total)["total_pages"]
    parts = [items[Page(number, size).of(total)] for number in range(1, pages + 1)]
    assert [item for part in parts for item in part] == items
    assert [len(part) for part in parts] == [Page(n, size).info(total)["count"] for n in range(1, pages + 1)]
    assert all(parts)
    assert items[Page(pages + 1, size).of(total)] == []


def test_behind_the_last_page_is_nothing() -> None:
    assert Page(99, 20).info(5) == {"page": 99, "per_page": 20, "count": 0, "total_count": 5, "total_pages": 1}
