import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.records import GROUPS

from gateway.catalog.api import read_api
from gateway.catalog.route_table import RouteTable
from gateway.cli.policy_openapi import (
    GROUPS_KEY,
    Imported,
    NotOpenApi,
    Shape,
    import_openapi,
    parse_openapi,
    prefix_of,
    shape_of,
    write_api,
)

RESERVED: tuple[Shape, ...] = (("v1", "user", "tokens"), ("v1", "accounts", None, "tokens"), ("v1", "zonegate"))
DNS = {GROUPS_KEY: ["DNS Write"]}


def document(paths: object, **more: object) -> dict[str, Any]:
    return {"openapi": "3.0.3", "paths": paths, **more}


def imported(paths: object, taken: dict[tuple[Shape, str], str] | None = None, **more: object) -> Imported:
    return import_openapi(document(paths, **more), GROUPS, "/v1", taken or {}, RESERVED)


def routes(found: Imported) -> list[tuple[str, str, str, str]]:
    return [
        (" ".join(route.methods), route.path, ", ".join(route.permission), route.resource) for route in found.routes
    ]


def whys(found: Imported) -> list[str]:
    return [f"{each.method} {each.path}: {each.why}" for each in found.left_out]


@pytest.mark.parametrize(
    ("path", "groups", "expected"),
    [
        pytest.param("/zones/{zone_id}/x", "DNS Write", ("/zones/{zone_id}/x", "zone:{zone_id}"), id="a zone"),
        pytest.param("/z/{zoneId}", "DNS Write", ("/z/{zone_id}", "zone:{zone_id}"), id="in camel case"),
        pytest.param("/z/{zone-id}", "DNS Write", ("/z/{zone_id}", "zone:{zone_id}"), id="with a dash"),
        pytest.param(
            "/zones/{zone_identifier}",
            "DNS Write",
            ("/zones/{zone_identifier}", "zone:{zone_identifier}"),
            id="by another name",
        ),
        pytest.param(
            "/accounts/{account_id}/bill",
            "Billing Read",
            ("/accounts/{account_id}/bill", "account:{account_id}"),
            id="an account",
        ),
        pytest.param(
            "/users/{user_id}", "User Details Read", ("/users/{user_id}", "user:{user_id}"), id="a user by its id"
        ),
        pytest.param("/user/x", "User Details Read", ("/user/x", "user:self"), id="the caller's user"),
        pytest.param(
            "/zones/{zone_id}/{thingID}",
            "DNS Write",
            ("/zones/{zone_id}/{thing_id}", "zone:{zone_id}"),
            id="another parameter beside it",
        ),
    ],
)
def test_a_path_parameter_names_what_is_touched(path: str, groups: str, expected: tuple[str, str]) -> None:
    found = imported({path: {"get": {GROUPS_KEY: [groups]}}})
    assert whys(found) == []
    assert routes(found) == [("GET", expected[0], groups, expected[1])]


def test_methods_that_the_same_groups_open_stand_in_one_route() -> None:
    read = {GROUPS_KEY: ["DNS Read", "DNS Write"]}
    found = imported({"/zones/{zone_id}/x": {"get": read, "put": DNS, "head": DNS, "delete": DNS, "summary": "x"}})
    assert routes(found) == [
        ("GET", "/zones/{zone_id}/x", "DNS Read, DNS Write", "zone:{zone_id}"),
        ("PUT DELETE", "/zones/{zone_id}/x", "DNS Write", "zone:{zone_id}"),
    ]
    assert found.left_out == ()


def test_a_group_that_the_catalogue_lacks_is_passed_over_beside_one_that_it_has() -> None:
    found = imported({"/zones/{zone_id}": {"get": {GROUPS_KEY: ["Nothing Read", "DNS Read", 7, "DNS Read"]}}})
    assert routes(found) == [("GET", "/zones/{zone_id}", "DNS Read", "zone:{zone_id}")]


@pytest.mark.parametrize(
    ("path", "item", "why"),
    [
        pytest.param("/zones/{zone_id}", {"get": {}}, f"no {GROUPS_KEY} says", id="nothing says what opens it"),
        pytest.param("/zones/{zone_id}", {"get": {GROUPS_KEY: []}}, f"no {GROUPS_KEY} says", id="an empty list"),
        pytest.param("/zones/{zone_id}", {"get": {GROUPS_KEY: {}}}, f"no {GROUPS_KEY} says", id="no list"),
        pytest.param(
            "/zones/{zone_id}", {"get": {GROUPS_KEY: ["Nothing"]}}, "no permission group on a zone", id="unknown"
        ),
        pytest.param(
            "/zones/{zone_id}",
            {"get": {GROUPS_KEY: ["Billing Read"]}},
            "no permission group on a zone",
            id="a group of another scope",
        ),
        pytest.param("/zones", {"get": DNS}, "no parameter names", id="a list"),
        pytest.param("/things/{thing_id}", {"get": DNS}, "no parameter names", id="a parameter that names no resource"),
        pytest.param(
            "/accounts/{account_id}/zones/{zone_id}",
            {"get": DNS},
            "account_id and zone_id both name",
            id="two that name one",
        ),
        pytest.param("/zones/{zone_id}.json", {"get": DNS}, "not a whole segment", id="a part of a segment"),
        pytest.param("/zones/{a}{zone_id}", {"get": DNS}, "not a whole segment", id="two in one segment"),
        pytest.param("/zones/{zone_id}/", {"get": DNS}, "an empty segment", id="a slash at the end"),
        pytest.param("/zones/{zone_id}/../x", {"get": DNS}, "a dot segment", id="a dot segment"),
        pytest.param("/zones/{zone_id}/x?y", {"get": DNS}, "path: ", id="a query in the path"),
        pytest.param("/zones/{zone_id}/ü", {"get": DNS}, "not ASCII", id="not ASCII"),
        pytest.param("/zones/{zone_id}/{1}", {"get": DNS}, "no name that a variable", id="a parameter of no name"),
        pytest.param("/zones/{zone_id}", {"trace": DNS}, "no route is for TRACE", id="TRACE"),
        pytest.param("/zones/{zone_id}", {"head": DNS}, "no route is for HEAD", id="HEAD without GET"),
        pytest.param("/zones/{zone_id}", {"get": 7}, "not an object", id="an operation that is none"),
        pytest.param("/zones/{zone_id}", 7, "not an object", id="a path that is none"),
        pytest.param("/user/tokens/x", {"get": {GROUPS_KEY: ["API Tokens Read"]}}, "the token API", id="reserved"),
        pytest.param(
            "/accounts/{account_id}/{x}", {"get": {GROUPS_KEY: ["Billing Read"]}}, "the token API", id="perhaps so"
        ),
        pytest.param("/a/{zone_id}", {"$ref": "#/paths/~1a~1{zone_id}"}, "in a circle", id="a $ref to itself"),
        pytest.param("/a/{zone_id}", {"$ref": "other.json#/x"}, "out of the document", id="a $ref to elsewhere"),
        pytest.param("/a/{zone_id}", {"$ref": "#/nothing"}, "leads nowhere", id="a $ref to nothing"),
        pytest.param("/a/{zone_id}", {"$ref": 7}, "out of the document", id="a $ref that is none"),
    ],
)
def test_what_cannot_be_decided_is_left_out_and_listed(path: str, item: object, why: str) -> None:
    found = imported({path: item})
    assert found.routes == ()
    (said,) = whys(found)
    assert path in said
    assert why in said


def test_two_paths_of_one_shape_are_one_route_and_one_that_is_left_out() -> None:
    found = imported({"/z/{zone_id}/x": {"get": DNS}, "/z/{zone_tag}/x": {"get": DNS, "put": DNS}})
    assert routes(found) == [
        ("GET", "/z/{zone_id}/x", "DNS Write", "zone:{zone_id}"),
        ("PUT", "/z/{zone_tag}/x", "DNS Write", "zone:{zone_tag}"),
    ]
    assert whys(found) == ["GET /z/{zone_tag}/x: another path of this document has the same shape and method"]


def test_what_another_api_has_is_left_to_it() -> None:
    found = imported({"/z/{zone_id}": {"get": DNS}}, {(shape_of("/v1/z/{x}"), "GET"): "the API things"})
    assert whys(found) == ["GET /z/{zone_id}: the API things has the same shape and method"]


@pytest.mark.parametrize(
    ("schema", "grammar"),
    [
        pytest.param({"maxLength": 32}, "id", id="32 characters"),
        pytest.param({"maxLength": "32"}, "id", id="32 characters, out of YAML"),
        pytest.param({"pattern": "^[0-9a-f]{32}$"}, "id", id="hex digits"),
        pytest.param({"$ref": "#/components/schemas/id"}, "id", id="by a $ref"),
        pytest.param({"format": "uuid"}, "name", id="something else"),
        pytest.param({"$ref": "#/components/schemas/loop"}, "name", id="a circle"),
        pytest.param({"$ref": "elsewhere.json"}, "name", id="elsewhere"),
        pytest.param(None, "name", id="nothing"),
    ],
)
@pytest.mark.parametrize("place", ["path", "operation", "component"])
def test_a_variable_is_an_id_where_the_schema_says_so_else_a_name(schema: object, grammar: str, place: str) -> None:
    parameter: object = {"in": "path", "name": "zoneId", "schema": schema}
    components = {
        "schemas": {"id": {"maxLength": 32}, "loop": {"$ref": "#/components/schemas/loop"}},
        "parameters": {"zone": parameter},
    }
    if place == "component":
        parameter = {"$ref": "#/components/parameters/zone"}
    item: dict[str, Any] = {"get": dict(DNS)}
    (item if place == "path" else item["get"])["parameters"] = [parameter]
    found = imported({"/z/{zoneId}": item}, components=components)
    assert dict(found.variables) == {"zone_id": grammar}


def test_of_two_grammars_a_variable_has_the_wider() -> None:
    narrow = [{"in": "path", "name": "zone_id", "schema": {"maxLength": 32}}]
    for paths in (["/a/{zone_id}", "/b/{zone_id}"], ["/b/{zone_id}", "/a/{zone_id}"]):
        found = imported({path: {"get": DNS, "parameters": narrow if "a" in path else []} for path in paths})
        assert dict(found.variables) == {"zone_id": "name"}


@pytest.mark.parametrize(
    ("servers", "prefix"),
    [
        pytest.param([{"url": "https://api.example/client/v4"}], "/client/v4", id="a path"),
        pytest.param([{"url": "https://api.example/v1/"}, {"url": "/v2"}], "/v1", id="the first, without its slash"),
        pytest.param([{"url": "/api"}], "/api", id="a path alone"),
        pytest.param([{"url": "https://api.example"}], "", id="none"),
        pytest.param([{"url": "https://{host}/{version}"}], "", id="one that is filled in"),
        pytest.param([{"url": "http://[::1/x"}], "", id="no URL"),
        pytest.param([{}], "", id="no url"),
        pytest.param("x", "", id="no list"),
        pytest.param([], "", id="an empty list"),
    ],
)
def test_the_prefix_is_the_first_server_s_path(servers: object, prefix: str) -> None:
    assert prefix_of(document({}, servers=servers)) == prefix


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param('{"openapi": ', "not JSON", id="half of JSON"),
        pytest.param("openapi: [", "not YAML", id="half of YAML"),
        pytest.param('{"swagger": "2.0"}', "not an OpenAPI 3 document", id="an older one"),
        pytest.param("- a\n", "not an OpenAPI 3 document", id="a list"),
        pytest.param("", "not an OpenAPI 3 document", id="nothing"),
        pytest.param('{"openapi": "3.1.0", "paths": []}', "paths: not an object", id="a list of paths"),
        pytest.param('{"openapi": ' + DEEP, "", id="JSON that is nested too deeply"),
        pytest.param("openapi: " + DEEP, "", id="YAML that is nested too deeply"),
        pytest.param("a: &a\n  b: *a\n", "not YAML", id="YAML that holds itself"),
        pytest.param("? [a]\n: b\n", "not YAML", id="YAML whose key is a list"),
        pytest.param("a: !!python/object/apply:os.getcwd []\n", "not an OpenAPI 3 document", id="a tag of Python"),
        pytest.param("a: \x00\n", "not YAML", id="a control character"),
    ],
)
def test_what_is_no_document_is_one_line(text: str, says: str) -> None:
    with pytest.raises(NotOpenApi) as raised:
        parse_openapi(text)
    assert says in str(raised.value)


def test_json_and_yaml_of_a_document_come_to_the_same() -> None:
    paths = {
        "/z/{zone_id}": {"get": DNS, "parameters": [{"in": "path", "name": "zone_id", "schema": {"maxLength": 32}}]}
    }
    found = [
        import_openapi(parse_openapi(text), GROUPS, "", {}, ())
        for text in (json.dumps(document(paths)), yaml.safe_dump(document(paths)))
    ]
    assert found[0] == found[1]
    assert found[0].operations == 1


def test_aliases_that_would_fill_the_memory_are_not_followed() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    text = "\n".join(["openapi: 3.0.0", *lines, "paths:", "  /z/{zone_id}:", "    get:", "      parameters: *a39"])
    found = import_openapi(parse_openapi(text), GROUPS, "", {}, ())
    assert len(found.left_out) == 1


def test_what_is_written_is_read_as_an_api() -> None:
    paths = {
        "/zones/{zone_id}/x": {"get": {GROUPS_KEY: ["DNS Read", "DNS Write"]}, "put": DNS},
        "/accounts/{account_id}/y": {"post": {GROUPS_KEY: ["Billing Write"]}},
        "/user/z": {"get": {GROUPS_KEY: ["User Details Read"]}},
    }
    api, found = read_api("apis/things.toml", write_api("things", imported(paths)), GROUPS)
    assert (api.name, api.prefix) == ("things", (b"v1",))
    assert [(route.methods, route.text) for route in found] == [
        (("GET",), "/v1/zones/{zone_id}/x"),
        (("PUT",), "/v1/zones/{zone_id}/x"),
        (("POST",), "/v1/accounts/{account_id}/y"),
        (("GET",), "/v1/user/z"),
    ]


def test_a_document_without_routes_is_an_api_without_routes() -> None:
    assert read_api("apis/things.toml", write_api("things", imported({})), GROUPS)[1] == ()


NAMES = st.one_of(
    st.sampled_from(["{zone_id}", "{account_id}", "{x}", "{Zone-ID}", "zones", "user", "tokens", "", ".", "a b"]),
    st.text(max_size=6),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["$ref", "get", "put", "parameters", GROUPS_KEY, "schema"]), inner, max_size=3),
    ),
    max_leaves=8,
)
ITEMS = st.one_of(
    JSON,
    st.dictionaries(st.sampled_from(["get", "post", "head"]), st.sampled_from([DNS, {GROUPS_KEY: ["Billing Read"]}])),
)


@given(st.dictionaries(st.lists(NAMES, max_size=4).map(lambda parts: "/" + "/".join(parts)), ITEMS, max_size=5))
def test_whatever_a_document_holds_what_comes_of_it_is_an_api(paths: dict[str, object]) -> None:
    found = imported(paths)
    _, made = read_api("apis/things.toml", write_api("things", found), GROUPS)
    RouteTable(("apis/things.toml", route) for route in made)
    assert sum(len(route.methods) for route in made) <= found.operations
