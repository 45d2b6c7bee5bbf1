import pytest

from gateway.demo.fault import Fault, Rejected
from gateway.demo.listing import Listing

WORDS = Listing[str]({"word": lambda word: word, "length": len}, per_page=2, most=3)
ALL = ("pear", "fig", "apple", "plum", "kiwi")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param({"per_page": "3"}, ["apple", "fig", "kiwi"], id="the first field is the order"),
        pytest.param({}, ["apple", "fig"], id="the default page size"),
        pytest.param({"page": "3"}, ["plum"], id="the last page is short"),
        pytest.param({"page": "4"}, [], id="behind the last page is nothing"),
        pytest.param({"per_page": "99"}, ["apple", "fig", "kiwi"], id="a page is cut to the most"),
        pytest.param({"direction": "desc"}, ["plum", "pear"], id="backwards"),
        pytest.param({"order": "length"}, ["fig", "kiwi"], id="ordered by a number"),
        pytest.param({"word": "FIG"}, ["fig"], id="exact, in any case"),
        pytest.param({"word.exact": "fi"}, [], id="a part is not exact"),
        pytest.param({"word.contains": "l"}, ["apple", "plum"], id="contains"),
        pytest.param({"word.startswith": "p"}, ["pear", "plum"], id="starts with"),
        pytest.param({"word.endswith": "m"}, ["plum"], id="ends with"),
        pytest.param({"word.startswith": "p", "length": "4"}, ["pear", "plum"], id="all filters"),
        pytest.param({"word": "fig", "length": "4"}, [], id="all, and one fails"),
        pytest.param({"word": "fig", "length": "5", "match": "any"}, ["apple", "fig"], id="any filter"),
        pytest.param({"colour": "red"}, ["apple", "fig"], id="what is no field is ignored"),
    ],
)
def test_a_list_is_filtered_ordered_and_cut(query: dict[str, str], found: list[str]) -> None:
    assert WORDS.page(ALL, query)[0] == found


def test_the_info_counts_what_the_filters_left() -> None:
    _, info = WORDS.page(ALL, {"length": "4", "page": "2"})
    assert (info.page, info.per_page, info.count, info.total_count, info.total_pages) == (2, 2, 1, 3, 2)


@pytest.mark.parametrize(
    "query",
    [
        {"page": "0"},
        {"page": "-1"},
        {"page": "x"},
        {"page": ""},
        {"page": "\N{SUPERSCRIPT TWO}"},
        {"per_page": "0"},
        {"order": "colour"},
        {"direction": "up"},
    ],
    ids=str,
)
def test_nonsense_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(Rejected) as rejected:
        WORDS.page(ALL, query)
    assert rejected.value.fault is Fault.INVALID_QUERY
