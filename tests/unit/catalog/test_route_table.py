from collections.abc import Iterable, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.catalog.api import Api, Route, Variable, Where
from gateway.catalog.document import CatalogError
from gateway.catalog.route_table import Match, Matched, MethodUnknown, PathUnknown, RouteTable, overlaps
from gateway.tokens.grammar import NARROWEST_FIRST, Grammar

API = Api("things", (), frozenset({"authorization"}), "id", frozenset())
ID = b"0123456789abcdef" * 2
OTHER_ID = b"f" * 32
VARIABLES = {
    "{id}": Variable("id", Grammar.ID),
    "{name}": Variable("name", Grammar.NAME),
    "{dns}": Variable("dns", Grammar.DNS_NAME),
}


def split(path: str) -> tuple[bytes, ...]:
    return tuple(segment.encode() for segment in path.split("/")[1:])


def route(line: str) -> Route:
    """`GET,PUT /a/{id}` as a route."""
    methods, path = line.split(" ")
    return Route(
        api=API,
        methods=tuple(methods.split(",")),
        template=tuple(VARIABLES.get(segment.decode(), segment) for segment in split(path)),
        text=path,
        scope=None,
        groups=(),
        opened_by=(),
        where=Where.NOWHERE,
    )


def table(*lines: str) -> RouteTable:
    return RouteTable(("apis/things.toml", route(line)) for line in lines)


def answer(match: Match) -> str | tuple[str, ...] | None:
    """The template that matched; else the methods that would; None where the path is unknown."""
    match match:
        case Matched(found):
            return found.text
        case MethodUnknown(methods):
            return methods
        case PathUnknown():
            return None


ZONES = (
    "GET,POST /zones",
    "GET,PATCH /zones/{id}",
    "GET,POST /zones/{id}/records",
    "GET /zones/{id}/records/export",
    "GET,DELETE /zones/{id}/records/{name}",
    "GET,PUT /zones/{id}/records/{name}/note",
    "GET /",
)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        pytest.param("GET", f"/zones/{ID.decode()}", "/zones/{id}", id="a variable"),
        pytest.param("GET", "/zones", "/zones", id="a path that others go on from"),
        pytest.param("GET", f"/zones/{ID.decode()}/records/abc", "/zones/{id}/records/{name}", id="two variables"),
        pytest.param(
            "GET", f"/zones/{ID.decode()}/records/export", "/zones/{id}/records/export", id="a literal beats it"
        ),
        pytest.param(
            "DELETE",
            f"/zones/{ID.decode()}/records/export",
            "/zones/{id}/records/{name}",
            id="the variable's methods stay open under the literal",
        ),
        pytest.param(
            "PUT",
            f"/zones/{ID.decode()}/records/export/note",
            "/zones/{id}/records/{name}/note",
            id="so do the paths behind it",
        ),
        pytest.param("HEAD", "/zones", "/zones", id="HEAD follows GET"),
        pytest.param("POST", f"/zones/{ID.decode()}/records/abc", ("DELETE", "GET", "HEAD"), id="405"),
        pytest.param("PUT", "/zones", ("GET", "HEAD", "POST"), id="405 lists HEAD with GET"),
        pytest.param(
            "POST",
            f"/zones/{ID.decode()}/records/export",
            ("DELETE", "GET", "HEAD"),
            id="405 lists what folding left open",
        ),
        pytest.param("OPTIONS", "/zones", ("GET", "HEAD", "POST"), id="OPTIONS only where it is listed"),
        pytest.param("get", "/zones", ("GET", "HEAD", "POST"), id="methods have a case"),
        pytest.param("GET", "/zone", None, id="404: no such literal"),
        pytest.param("GET", "/ZONES", None, id="404: literals have a case"),
        pytest.param("GET", "/zones/abc", None, id="404: not of the grammar"),
        pytest.param("GET", f"/zones/{ID.decode().upper()}", None, id="404: an id in capitals"),
        pytest.param("GET", f"/zones/{ID.decode()};v=1", None, id="404: a parameter behind the id"),
        pytest.param("GET", f"/zones/{ID.decode()}/records/abc/more", None, id="404: longer than any route"),
        pytest.param("GET", f"/zones/{ID.decode()}/records/a.b", None, id="404: the last segment"),
        pytest.param("GET", "/zones/export/records", None, id="404: a literal of another place"),
    ],
)
def test_a_path_has_one_route_or_none(method: str, path: str, expected: str | tuple[str, ...] | None) -> None:
    assert answer(table(*ZONES).match(method, split(path))) == expected


def test_a_table_without_routes_knows_no_path() -> None:
    for segments in ((), (b"a",)):
        assert RouteTable([]).match("GET", segments) == PathUnknown()


def test_the_root_is_a_path_like_any_other() -> None:
    found = RouteTable([("a.toml", Route(API, ("GET",), (), "", None, (), (), Where.NOWHERE))])
    assert isinstance(found.match("GET", ()), Matched)
    assert found.match("PUT", ()) == MethodUnknown(("GET", "HEAD"))
    assert found.match("GET", (b"a",)) == PathUnknown()


def test_a_node_on_the_way_is_not_a_path() -> None:
    found = table("GET /a/b/c")
    assert found.match("GET", (b"a", b"b")) == PathUnknown()
    assert found.match("GET", ()) == PathUnknown()


def test_a_literal_does_not_fall_back_where_the_variable_would_not_take_it() -> None:
    found = table("GET /a/export.txt", "DELETE /a/{name}", "PUT /a/export.txt/x", "PUT /a/{name}/y")
    assert answer(found.match("DELETE", (b"a", b"export.txt"))) == ("GET", "HEAD")
    assert answer(found.match("PUT", (b"a", b"export.txt", b"y"))) is None
    assert answer(found.match("PUT", (b"a", b"export", b"y"))) == "/a/{name}/y"


def test_a_narrow_grammar_beats_a_wide_one() -> None:
    found = table("GET /{dns}/x", "GET /{name}/y", "GET /{id}/z", "PUT /{id}", "DELETE /{name}", "PATCH /{dns}")
    assert answer(found.match("PUT", (ID,))) == "/{id}"
    assert answer(found.match("DELETE", (ID,))) == "/{name}"
    assert answer(found.match("PATCH", (ID,))) == "/{dns}"
    assert answer(found.match("PUT", (b"abc",))) == ("DELETE", "PATCH")
    assert answer(found.match("PUT", (b"a.b",))) == ("PATCH",)
    assert [answer(found.match("GET", (ID, last))) for last in (b"x", b"y", b"z")] == [
        "/{dns}/x",
        "/{name}/y",
        "/{id}/z",
    ]
    assert answer(found.match("GET", (b"a.b", b"y"))) is None


@pytest.mark.parametrize(
    ("lines", "path", "expected"),
    [
        pytest.param(["GET /{id}/b", "GET /a/{id}"], "/a/b", None, id="neither"),
        pytest.param(["GET /a/{name}", "GET /{name}/b"], "/a/b", "/a/{name}", id="literal first, then variable"),
        pytest.param(["GET /{name}/b", "GET /a/{name}"], "/a/b", "/a/{name}", id="in whatever order they stand"),
        pytest.param(
            ["GET /a/{name}/c", "GET /a/b/{name}", "GET /{name}/b/c"],
            "/a/b/c",
            "/a/b/{name}",
            id="the second segment counts where the first is alike",
        ),
        pytest.param(
            ["GET /{name}/b/c", "GET /a/{name}/c"], "/a/b/c", "/a/{name}/c", id="one early literal beats two late"
        ),
        pytest.param(
            ["GET /{id}/{dns}", "GET /{name}/b"],
            f"/{ID.decode()}/b",
            "/{id}/{dns}",
            id="an early narrow variable beats a late literal",
        ),
        pytest.param(["GET /a/{name}", "GET /{name}/b"], "/x/b", "/{name}/b", id="where the literal is another"),
    ],
)
def test_left_to_right_a_literal_beats_a_variable(lines: list[str], path: str, expected: str | None) -> None:
    assert answer(table(*lines).match("GET", split(path))) == expected


@pytest.mark.parametrize(
    ("first", "second", "method"),
    [
        pytest.param("GET /a/{id}", "GET /a/{id}", "GET", id="the same route twice"),
        pytest.param("GET,PUT /a", "POST,PUT /a", "PUT", id="one method of two"),
        pytest.param("GET /a/{id}", "GET /a/{name}", "GET", id="another grammar is the same shape"),
        pytest.param("GET /a/{name}/b", "GET /a/{dns}/b", "GET", id="in the middle too"),
        pytest.param("GET /", "GET /", "GET", id="the shortest"),
    ],
)
def test_two_routes_of_the_same_shape_and_method_are_an_error_that_names_both(
    first: str, second: str, method: str
) -> None:
    with pytest.raises(CatalogError) as raised:
        RouteTable([("apis/one.toml", route(first)), ("apis/two.toml", route(second))])
    one, two = (line.split(" ")[1] for line in (first, second))
    assert str(raised.value) == (
        f"apis/two.toml: route {method} {two!r}: apis/one.toml {one!r} has the same shape and method"
    )


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["GET /a/{id}", "PUT /a/{name}"], id="other methods"),
        pytest.param(["GET /a/{id}", "GET /a/b"], id="a literal for the variable"),
        pytest.param(["GET /a/{id}", "GET /a/{id}/b"], id="one goes on"),
    ],
)
def test_routes_that_differ_stand_beside_each_other(lines: list[str]) -> None:
    assert [found.text for found in table(*lines).routes] == [line.split(" ")[1] for line in lines]


def test_a_method_twice_in_one_route_is_an_error() -> None:
    with pytest.raises(CatalogError, match="GET '/a'"):
        table("GET,GET /a")


@pytest.mark.parametrize(
    ("line", "reserved", "under"),
    [
        pytest.param("GET /user/tokens", "/user/tokens", True, id="the path itself"),
        pytest.param("GET /user/tokens/x", "/user/tokens", True, id="a path under it"),
        pytest.param("GET /user/{name}", "/user/tokens", True, id="a variable that takes it"),
        pytest.param("GET /{name}/{dns}", "/user/tokens", True, id="two variables that take it"),
        pytest.param("GET /user/{id}", "/user/tokens", False, id="a variable that does not"),
        pytest.param("GET /user", "/user/tokens", False, id="a path above it"),
        pytest.param("GET /user/token", "/user/tokens", False, id="a path beside it"),
        pytest.param("GET /accounts/{id}/tokens", "/accounts/*/tokens", True, id="any segment: a variable"),
        pytest.param("GET /accounts/a.b/tokens", "/accounts/*/tokens", True, id="any segment: a literal"),
        pytest.param("GET /accounts/{id}/members", "/accounts/*/tokens", False, id="any segment, then another"),
        pytest.param("GET /{dns}", "/zonegate", True, id="at the top"),
    ],
)
def test_what_lies_under_a_reserved_path_is_seen(line: str, reserved: str, *, under: bool) -> None:
    names = [None if segment == b"*" else segment for segment in split(reserved)]
    assert overlaps(route(line), names) is under


POOL = (b"a", b"b", b"x.y", ID)
SEGMENTS = (*POOL, OTHER_ID, b"c", b"c.d", b"%61", ID.upper())
templates = st.lists(
    st.sampled_from([*(literal.decode() for literal in POOL), "{id}", "{name}", "{dns}"]),
    min_size=1,
    max_size=3,
).map(lambda parts: "/" + "/".join(parts))
lines = st.tuples(st.sets(st.sampled_from(["GET", "PUT"]), min_size=1), templates)


def no_clashes(drawn: Iterable[tuple[set[str], str]]) -> list[Route]:
    """Routes of which no two have the same shape and method."""
    taken = set()
    out = []
    for methods, path in drawn:
        shape = tuple("{}" if part in VARIABLES else part for part in path.split("/"))
        free = sorted(method for method in methods if (shape, method) not in taken)
        taken |= {(shape, method) for method in free}
        if free:
            out.append(route(f"{','.join(free)} {path}"))
    return out


@st.composite
def tables_and_paths(draw: st.DrawFn) -> tuple[list[Route], tuple[bytes, ...]]:
    """A few routes, and a path that is often of one of them."""
    routes = draw(st.lists(lines, min_size=1, max_size=7).map(no_clashes))
    likely = draw(st.sampled_from(routes)).template
    at_random = st.lists(st.sampled_from(SEGMENTS), max_size=4).map(tuple)
    drawn = [draw(st.sampled_from(POOL if isinstance(part, Variable) else [part])) for part in likely]
    return routes, draw(st.just(tuple(drawn)) | at_random)


def serves(found: Route, method: str) -> bool:
    return method in found.methods or (method == "HEAD" and "GET" in found.methods)


def is_variable(part: bytes | Variable, grammar: Grammar) -> bool:
    return isinstance(part, Variable) and part.grammar is grammar


def backtrack(routes: Sequence[Route], method: str | None, segments: tuple[bytes, ...], depth: int = 0) -> Route | None:
    """The route that a matcher finds which tries, segment by segment, the literal, then the narrowest variable first,
    and goes back where a branch leads nowhere. `method` None: any.
    """
    if depth == len(segments):
        ends = [one for one in routes if len(one.template) == depth and (method is None or serves(one, method))]
        return ends[0] if ends else None
    here = segments[depth]
    longer = [one for one in routes if len(one.template) > depth]
    branches = [[one for one in longer if one.template[depth] == here]]
    branches += [
        [one for one in longer if is_variable(one.template[depth], grammar)]
        for grammar in NARROWEST_FIRST
        if grammar.accepts(here)
    ]
    for branch in branches:
        if branch and (found := backtrack(branch, method, segments, depth + 1)):
            return found
    return None


def takes(found: Route, segments: tuple[bytes, ...]) -> bool:
    """Whether the path is of the route's template, seen alone."""
    return len(found.template) == len(segments) and all(
        part.grammar.accepts(segment) if isinstance(part, Variable) else part == segment
        for part, segment in zip(found.template, segments, strict=True)
    )


@given(tables_and_paths(), st.sampled_from(["GET", "HEAD", "PUT", "DELETE"]))
@settings(deadline=None, max_examples=300)
def test_it_finds_what_a_matcher_that_goes_back_finds(
    drawn: tuple[list[Route], tuple[bytes, ...]], method: str
) -> None:
    routes, segments = drawn
    found = RouteTable(("a.toml", one) for one in routes).match(method, segments)
    expected = backtrack(routes, method, segments)
    if expected is not None:
        assert found == Matched(expected)
        return
    open_methods = {
        each for one in routes if takes(one, segments) for each in (*one.methods, "HEAD") if serves(one, each)
    }
    assert found == (MethodUnknown(tuple(sorted(open_methods))) if open_methods else PathUnknown())


@given(tables_and_paths())
@settings(deadline=None, max_examples=300)
def test_a_look_up_visits_at_most_one_node_a_segment(
    drawn: tuple[list[Route], tuple[bytes, ...]],
) -> None:
    routes, segments = drawn
    compiled = RouteTable(("a.toml", one) for one in routes)
    assert len(compiled.visit(segments)) <= len(segments)
    if any(takes(one, segments) for one in routes):
        assert len(compiled.visit(segments)) == len(segments)


@given(tables_and_paths())
@settings(deadline=None, max_examples=300)
def test_a_request_is_never_matched_to_a_route_whose_template_it_is_not_of(
    drawn: tuple[list[Route], tuple[bytes, ...]],
) -> None:
    routes, segments = drawn
    found = RouteTable(("a.toml", one) for one in routes).match("GET", segments)
    if isinstance(found, Matched):
        assert takes(found.route, segments)
        assert serves(found.route, "GET")


@given(tables_and_paths(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=300)
def test_the_order_of_the_files_does_not_matter(drawn: tuple[list[Route], tuple[bytes, ...]], random: Random) -> None:
    routes, segments = drawn
    shuffled = random.sample(routes, len(routes))
    one, two = (RouteTable(("a.toml", each) for each in order) for order in (routes, shuffled))
    assert one.match("GET", segments) == two.match("GET", segments)
