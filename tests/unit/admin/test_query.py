import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.query import AuditCall, ListQuery, audit_call, is_cascade, list_query, owner_kinds, parameters
from gateway.reason import Deny, Reason
from gateway.store.audit import AuditQuery
from gateway.tokens.owner import OwnerKind

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


# The audit.

TOKEN = "f" * 32


@pytest.mark.parametrize(
    ("query", "asked", "page"),
    [
        pytest.param("", AuditQuery(count=100), 1, id="nothing"),
        pytest.param("per_page=1", AuditQuery(count=1), 1, id="the smallest page"),
        pytest.param("per_page=1000.0", AuditQuery(count=1000), 1, id="the largest page"),
        pytest.param("page=3&per_page=10", AuditQuery(count=10, skip=20), 3, id="a page"),
        pytest.param("direction=asc", AuditQuery(count=100, descending=False), 1, id="oldest first"),
        pytest.param("since=2027-01-15", AuditQuery(count=100, since=1799971200), 1, id="since a date"),
        pytest.param(
            "since=2027-01-15T08:00:00Z", AuditQuery(count=100, since=1800000000), 1, id="since a date and time"
        ),
        pytest.param(
            "before=2027-01-15T09:00:00.5%2B01:00", AuditQuery(count=100, before=1800000000), 1, id="with an offset"
        ),
        pytest.param("id=12-3", AuditQuery(count=100, entry="12-3"), 1, id="one entry"),
        pytest.param("id=12-3d", AuditQuery(count=100, entry="12-3d"), 1, id="one refused call"),
        pytest.param("cursor=12-3", AuditQuery(count=100, cursor="12-3"), 1, id="behind a cursor"),
        pytest.param("cursor=12-3_4-5d", AuditQuery(count=100, cursor="12-3_4-5d"), 1, id="behind one of each kind"),
        pytest.param(f"token={TOKEN}", AuditQuery(count=100, token=TOKEN), 1, id="a token"),
        pytest.param("action.type=revoke-self", AuditQuery(count=100, action="revoke-self"), 1, id="an action"),
        pytest.param("export=true&actor.email=x", AuditQuery(count=100), 1, id="parameters of others"),
    ],
)
def test_the_audit_is_asked_for_as_cloudflare_s_audit_logs_are(query: str, asked: AuditQuery, page: int) -> None:
    assert audit_call(query.encode()) == AuditCall(asked, page)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        pytest.param("per_page=0", "per_page", id="no entry"),
        pytest.param("per_page=1001", "per_page", id="too many entries"),
        pytest.param("page=0", "page", id="before the first page"),
        pytest.param("direction=up", "direction", id="a direction that is none"),
        pytest.param("since=yesterday", "since", id="no moment"),
        pytest.param("since=", "since", id="an empty moment"),
        pytest.param("since=1800000000", "since", id="seconds"),
        pytest.param("since=2027-02-30", "since", id="a date that is none"),
        pytest.param("before=2027-01-15T08:00:00", "before", id="a moment without an offset"),
        pytest.param("before=2027-01-15T08:00:00+01:00", "before", id="a blank, as + is read"),
        pytest.param("id=12", "id", id="half an id"),
        pytest.param("cursor=(12-3", "cursor", id="a cursor of Redis's own"),
        pytest.param("cursor=", "cursor", id="an empty cursor"),
        pytest.param("cursor=12-3_4-5", "cursor", id="a cursor behind two of one kind"),
        pytest.param("id=12-3_4-5d", "id", id="two ids"),
        pytest.param("token=mine", "token", id="a token's name"),
        pytest.param("token=" + "F" * 32, "token", id="a token's id in another case"),
        pytest.param("action.type=", "action.type", id="no action"),
        pytest.param("action.type=*", "action.type", id="no action's name"),
        pytest.param("token=x&token=x", "twice", id="twice"),
    ],
)
def test_a_query_of_the_audit_that_is_not_understood_is_refused_by_its_name(query: str, name: str) -> None:
    deny = audit_call(query.encode())
    assert isinstance(deny, Deny)
    assert deny.reason is Reason.BAD_REQUEST
    assert deny.detail.startswith("query: ")
    assert name in deny.detail


@given(
    st.dictionaries(
        st.sampled_from(["since", "before", "page", "per_page", "cursor", "id", "token", "action.type", "direction"]),
        st.text(alphabet="0123456789-:TZ.abcdef%_"),
    )
)
def test_any_query_of_the_audit_gives_entries_within_bounds_or_a_refusal(query: dict[str, str]) -> None:
    match audit_call("&".join(f"{name}={value}" for name, value in query.items()).encode()):
        case AuditCall(asked, page):
            assert page >= 1
            assert 1 <= asked.count <= 1000
        case Deny() as deny:
            assert deny.reason is Reason.BAD_REQUEST


@pytest.mark.parametrize(
    ("query", "cascade"),
    [
        pytest.param(b"", False, id="not said"),
        pytest.param(b"cascade=true", True, id="true"),
        pytest.param(b"cascade=1", True, id="1"),
        pytest.param(b"cascade=false", False, id="false"),
        pytest.param(b"cascade=", None, id="nothing"),
        pytest.param(b"cascade=yes", None, id="another word"),
        pytest.param(b"cascade=true&cascade=true", None, id="twice"),
    ],
)
def test_a_cascade_is_said_or_not(query: bytes, cascade: bool | None) -> None:  # noqa: FBT001 - a case's data
    found = is_cascade(query)
    if cascade is None:
        assert isinstance(found, Deny)
        assert found.reason is Reason.BAD_REQUEST
    else:
        assert found is cascade


def test_an_owner_is_of_the_kind_that_is_said_or_of_any() -> None:
    assert owner_kinds({}) == (OwnerKind.USER, OwnerKind.ACCOUNT)
    assert owner_kinds({"kind": "account"}) == (OwnerKind.ACCOUNT,)
    assert isinstance(owner_kinds({"kind": "USER"}), Deny)


@pytest.mark.parametrize(("total", "pages"), [(0, 0), (1, 1), (20, 1), (21, 2)])
def test_a_page_says_how_many_there_are(total: int, pages: int) -> None:
    query = list_query(b"")
    assert isinstance(query, ListQuery)
    assert query.info(range(min(total, 20)), total) == {
        "page": 1,
        "per_page": 20,
        "count": min(total, 20),
        "total_count": total,
        "total_pages": pages,
    }
