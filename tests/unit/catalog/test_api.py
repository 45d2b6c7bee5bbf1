import pytest
from support.records import ACCOUNT_A, GROUPS, USER, ZONE_A, group_id

from gateway.catalog.api import Api, Filter, InBody, Named, Resolver, Route, Variable, Where, read_api
from gateway.catalog.document import CatalogError
from gateway.tokens.grammar import Grammar
from gateway.tokens.resource import Account, Scope, Touched, User, Zone

FILE = "apis/things.toml"
HEAD = """
name = "things"
prefix = "/v1"
variables = { zone_id = "id", name = "name", zone_name = "dns-name", account_id = "id", user_id = "name" }
"""
ROUTE = """
[[route]]
methods = ["GET"]
path = "/zones/{zone_id}"
permission = ["DNS Read", "DNS Write"]
resource = "zone:{zone_id}"
"""


def route_text(**changes: str) -> str:
    """The route above with other TOML values for some keys."""
    keys = {
        "methods": '["GET"]',
        "path": '"/zones/{zone_id}"',
        "permission": '["DNS Read", "DNS Write"]',
        "resource": '"zone:{zone_id}"',
        **changes,
    }
    return "\n[[route]]\n" + "\n".join(f"{key} = {value}" for key, value in keys.items() if value)


def read(text: str) -> tuple[Api, tuple[Route, ...]]:
    return read_api(FILE, text, GROUPS)


def one_route(head: str = HEAD, **changes: str) -> Route:
    _, (route,) = read(head + route_text(**changes))
    return route


def error_of(text: str) -> str:
    with pytest.raises(CatalogError) as raised:
        read(text)
    message = str(raised.value)
    assert message.startswith(f"{FILE}: ")
    assert "\n" not in message
    return message.removeprefix(f"{FILE}: ")


def test_an_api_is_what_its_file_says() -> None:
    api, routes = read(
        'name = "things"\nprefix = "/api/v1"\nzone_key = "dns-name"\n'
        'credential_headers = ["X-API-Key", "Authorization"]\nforbid_query = ["_method"]\n'
    )
    assert routes == ()
    assert api == Api(
        name="things",
        prefix=(b"api", b"v1"),
        credential_fields=frozenset({"x-api-key", "authorization"}),
        zone_key="dns-name",
        forbid_query=frozenset({b"_method"}),
    )


def test_what_a_file_does_not_say_has_a_safe_default() -> None:
    api, _ = read('name = "things"\nprefix = ""\n')
    assert api == Api("things", (), frozenset({"authorization"}), "id", frozenset())


def test_a_route_is_compiled_with_its_prefix() -> None:
    route = one_route()
    assert route.template == (b"v1", b"zones", Variable("zone_id", Grammar.ID))
    assert route.text == "/v1/zones/{zone_id}"
    assert route.methods == ("GET",)
    assert route.where == Named(Scope.ZONE, 2)
    assert route.scope is Scope.ZONE
    assert route.permissions == ("DNS Read", "DNS Write")
    assert route.operation == ""


@pytest.mark.parametrize(
    ("changes", "websocket"),
    [
        pytest.param({}, False, id="unsaid"),
        pytest.param({"upgrade": "[]"}, False, id="an empty list"),
        pytest.param({"upgrade": '["websocket"]'}, True, id="said"),
        pytest.param({"upgrade": '["websocket"]', "methods": '["POST", "GET"]'}, True, id="GET among the methods"),
        pytest.param({"upgrade": '["websocket"]', "permission": '"any-token"', "resource": ""}, True, id="any token"),
        pytest.param(
            {"upgrade": '["websocket"]', "permission": '["User Details Read"]', "resource": '"user:self"'},
            True,
            id="the token's own user",
        ),
    ],
)
def test_a_route_becomes_a_websocket_only_where_it_says_so(
    changes: dict[str, str],
    websocket: bool,  # noqa: FBT001 - a case's data
) -> None:
    assert one_route(**changes).websocket is websocket


def test_a_resolver_is_compiled_to_segments_and_keys() -> None:
    api, _ = read(
        HEAD + '[resolver.zone]\npath = "/zones/{zone_id}"\naccount = "result.account.id"\nname = "result.name"\n'
    )
    assert api.resolver == Resolver(
        path=(b"zones", Variable("zone_id", Grammar.ID)),
        account=("result", "account", "id"),
        name=("result", "name"),
        ttl=300,
    )


def test_a_resolver_need_not_know_names() -> None:
    api, _ = read(HEAD + '[resolver.zone]\npath = "/{zone_id}"\naccount = "account"\nttl = 0\n')
    assert api.resolver == Resolver((Variable("zone_id", Grammar.ID),), ("account",), (), 0)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        pytest.param(
            {"filter": '{ items = "result", zone = "id", account = "account.id", pages = "page/per_page" }'},
            Filter(("result",), ("id",), ("account", "id"), ("page", "per_page")),
            id="zones",
        ),
        pytest.param(
            {"filter": '{ items = "", zone = "zone_id" }'}, Filter((), ("zone_id",), (), None), id="the body itself"
        ),
        pytest.param(
            {
                "permission": '["Account Settings Read"]',
                "resource": '"account:*"',
                "filter": '{ items = "a.b", account = "id" }',
            },
            Filter(("a", "b"), (), ("id",), None),
            id="accounts",
        ),
    ],
)
def test_a_filter_is_compiled_to_keys(changes: dict[str, str], found: Filter) -> None:
    assert one_route(**{"path": '"/zones"', "resource": '"zone:*"', **changes}).filter == found


def test_only_a_list_has_a_filter() -> None:
    assert one_route().filter is None


def test_a_route_knows_where_it_stands_in_its_file() -> None:
    _, routes = read(HEAD + ROUTE + route_text(path='"/other/{zone_id}"'))
    assert [route.key for route in routes] == ["route[0]", "route[1]"]


def test_all_routes_that_are_wrong_are_told_in_one_error() -> None:
    with pytest.raises(CatalogError) as raised:
        read(HEAD + route_text(path='"a"') + ROUTE + route_text(permission='["Nothing"]') + route_text(methods="[]"))
    assert [fault.key for fault in raised.value.faults] == ["route[0].path", "route[2].permission", "route[3].methods"]
    assert all(fault.line for fault in raised.value.faults)


def test_an_empty_path_is_the_prefix_itself() -> None:
    route = one_route(path='""', permission='"any-token"', resource="")
    assert route.template == (b"v1",)


def test_a_group_is_given_by_itself_and_by_all_permissions_of_the_scope() -> None:
    everything = group_id("All Permissions")
    assert one_route().opened_by == (
        frozenset({group_id("DNS Read"), everything}),
        frozenset({group_id("DNS Write"), everything}),
    )


def test_a_name_means_the_group_of_that_name_in_the_scope_of_the_resource() -> None:
    of_zone = one_route(permission='["Logs Read"]')
    of_account = one_route(
        path='"/accounts/{account_id}"', permission='["Logs Read"]', resource='"account:{account_id}"'
    )
    assert [group.id for group in of_zone.groups] == [group_id("Logs Read", Scope.ZONE)]
    assert [group.id for group in of_account.groups] == [group_id("Logs Read", Scope.ACCOUNT)]
    assert of_zone.groups != of_account.groups


def test_an_id_means_exactly_that_group() -> None:
    route = one_route(permission=f'["id:{group_id("DNS Read")}"]')
    assert route.permissions == ("DNS Read",)


def test_any_token_needs_neither_group_nor_resource() -> None:
    route = one_route(permission='"any-token"', resource="")
    assert (route.scope, route.groups, route.opened_by, route.where) == (None, (), (), Where.NOWHERE)


@pytest.mark.parametrize(
    ("changes", "where", "scope"),
    [
        pytest.param({}, Named(Scope.ZONE, 2), Scope.ZONE, id="a zone in the path"),
        pytest.param(
            {"path": '"/{name}/{zone_id}"'}, Named(Scope.ZONE, 2), Scope.ZONE, id="the second variable of two"
        ),
        pytest.param(
            {
                "path": '"/accounts/{account_id}"',
                "permission": '["Billing Read"]',
                "resource": '"account:{account_id}"',
            },
            Named(Scope.ACCOUNT, 2),
            Scope.ACCOUNT,
            id="an account in the path",
        ),
        pytest.param(
            {
                "path": '"/users/{user_id}"',
                "permission": '["User Details Read"]',
                "resource": '"user:{user_id}"',
            },
            Named(Scope.USER, 2),
            Scope.USER,
            id="a user in the path",
        ),
        pytest.param(
            {"path": '"/me"', "permission": '["User Details Read"]', "resource": '"user:self"'},
            Where.SELF,
            Scope.USER,
            id="the token's own user",
        ),
        pytest.param(
            {"path": '"/zones"', "resource": '"zone:*"', "filter": '{ items = "result", zone = "id" }'},
            Where.LISTED,
            Scope.ZONE,
            id="a list of zones",
        ),
        pytest.param(
            {
                "path": '"/accounts"',
                "permission": '["Account Settings Read"]',
                "resource": '"account:*"',
                "filter": '{ items = "result", account = "id" }',
            },
            Where.LISTED,
            Scope.ACCOUNT,
            id="a list of accounts",
        ),
        pytest.param(
            {"methods": '["POST"]', "path": '"/zones"', "resource": '"zone:{body.name}"'},
            InBody("zone", ("name",)),
            Scope.ZONE,
            id="a zone that the body names",
        ),
        pytest.param(
            {"methods": '["POST"]', "path": '"/zones"', "resource": '"zones-of:{body.account.id}"'},
            InBody("zones-of", ("account", "id")),
            Scope.ZONE,
            id="an account's zones, the account named by the body",
        ),
    ],
)
def test_a_resource_says_where_the_thing_is_named(
    changes: dict[str, str], where: Where | Named | InBody, scope: Scope
) -> None:
    route = one_route(**changes)
    assert (route.where, route.scope) == (where, scope)


DNS_HEAD = HEAD + 'zone_key = "dns-name"\n'
BY_NAME = {"path": '"/zones/{zone_name}"', "resource": '"zone:{zone_name}"'}


@pytest.mark.parametrize(
    ("head", "changes", "last", "touched"),
    [
        pytest.param(HEAD, {}, ZONE_A, Zone(ZONE_A), id="a zone by id"),
        pytest.param(DNS_HEAD, BY_NAME, "Alpha.Example", Zone("alpha.example."), id="a zone by name"),
        pytest.param(DNS_HEAD, BY_NAME, "0=2F25.example.", Zone("0/25.example."), id="a zone with a slash"),
        pytest.param(
            HEAD,
            {
                "path": '"/accounts/{account_id}"',
                "permission": '["Billing Read"]',
                "resource": '"account:{account_id}"',
            },
            ACCOUNT_A,
            Account(ACCOUNT_A),
            id="an account",
        ),
        pytest.param(
            HEAD,
            {
                "path": '"/users/{user_id}"',
                "permission": '["User Details Read"]',
                "resource": '"user:{user_id}"',
            },
            "alice",
            User("alice"),
            id="a user",
        ),
    ],
)
def test_a_request_touches_what_its_path_names(head: str, changes: dict[str, str], last: str, touched: Touched) -> None:
    assert one_route(head, **changes).touched((b"v1", b"x", last.encode()), USER) == touched


@pytest.mark.parametrize(
    ("changes", "segment"),
    [
        pytest.param({}, b"2", id="a zone in the path"),
        pytest.param({"path": '"/zones/{name}/{zone_id}"'}, b"3", id="further on"),
        pytest.param(
            {"path": '"/me"', "permission": '["User Details Read"]', "resource": '"user:self"'}, b"", id="no segment"
        ),
        pytest.param({"permission": '"any-token"', "resource": ""}, b"", id="no resource"),
    ],
)
def test_the_segment_that_names_what_is_touched_is_known(changes: dict[str, str], segment: bytes) -> None:
    assert one_route(**changes).naming((b"0", b"1", b"2", b"3")) == segment


def test_a_route_is_equal_to_itself_alone() -> None:
    # Nothing that was remembered for a route may be found for the route of another catalogue.
    one, other = one_route(), one_route()
    assert one.text == other.text
    assert one != other
    assert {one: "found"}.get(one) == "found"
    assert {one: "found"}.get(other) is None


SELF = {"path": '"/me"', "permission": '["User Details Read"]', "resource": '"user:self"'}
LIST = {"path": '"/zones"', "resource": '"zone:*"', "filter": '{ items = "result", zone = "id" }'}


@pytest.mark.parametrize(
    ("changes", "user_id", "touched"),
    [
        pytest.param(SELF, USER, User(USER), id="the token's own user"),
        pytest.param(SELF, None, None, id="a token of an account has no user"),
        pytest.param(LIST, USER, None, id="a list"),
        pytest.param(
            {"methods": '["POST"]', "path": '"/z"', "resource": '"zone:{body.name}"'}, USER, None, id="in the body"
        ),
        pytest.param({"permission": '"any-token"', "resource": ""}, USER, None, id="nothing"),
    ],
)
def test_what_the_path_does_not_name(changes: dict[str, str], user_id: str | None, touched: Touched | None) -> None:
    assert one_route(**changes).touched((b"v1", b"x"), user_id) == touched


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("name = ", ["not TOML"], id="no TOML"),
        pytest.param(HEAD + 'prefixes = ""\n', ["prefixes: unknown key"], id="an unknown key"),
        pytest.param('prefix = "/v1"\n', ["`name`"], id="no name"),
        pytest.param('name = "things"\n', ["`prefix`"], id="no prefix"),
        pytest.param('name = "Things"\nprefix = ""\n', ["name: "], id="a name in capitals"),
        pytest.param('name = "a/b"\nprefix = ""\n', ["name: "], id="a name with a slash"),
        pytest.param(f'name = "{"x" * 65}"\nprefix = ""\n', ["name: "], id="a name of 65 characters"),
        pytest.param(HEAD + "credential_headers = []\n", ["credential_headers: "], id="no credential field"),
        pytest.param(HEAD + 'credential_headers = ["X Key"]\n', ["credential_headers[0]: "], id="a field with a space"),
        pytest.param(HEAD + 'zone_key = "name"\n', ["zone_key: "], id="another zone key"),
        pytest.param('name = "things"\nprefix = ""\nvariables = { a = "hex" }\n', ["variables"], id="another grammar"),
        pytest.param(HEAD + 'forbid_query = "a"\n', ["forbid_query: "], id="a string for a list"),
        pytest.param(HEAD + '[resolver.account]\npath = ""\naccount = ""\n', ["resolver"], id="another resolver"),
        pytest.param(
            HEAD + '[resolver.zone]\npath = ""\naccount = ""\nttl = -1\n', ["resolver", "ttl"], id="a negative ttl"
        ),
        *(
            pytest.param(HEAD + f"[resolver.zone]\n{resolver}\n", ["resolver.zone.", *says], id=f"resolver: {name}")
            for resolver, says, name in (
                ('path = "zones"\naccount = "a"', ["path", "starts with"], "a path without a slash"),
                ('path = "/a/../{zone_id}"\naccount = "a"', ["path", "dot"], "a dot segment"),
                ('path = "/zones"\naccount = "a"', ["path", "one variable"], "no variable"),
                ('path = "/{zone_id}/{name}"\naccount = "a"', ["path", "one variable"], "two variables"),
                ('path = "/{zone}"\naccount = "a"', ["path", "not among"], "an unknown variable"),
                ('path = "/{zone_id}"\naccount = ""', ["account"], "no account"),
                ('path = "/{zone_id}"\naccount = "a..b"', ["account", "dots"], "an empty key"),
                ('path = "/{zone_id}"\naccount = "a"\nname = "a[0]"', ["name", "dots"], "a key with a bracket"),
            )
        ),
        pytest.param('name = "things"\nprefix = "v1"\n', ["prefix: "], id="a prefix without a slash"),
        pytest.param('name = "things"\nprefix = "/v1/"\n', ["prefix: ", "empty"], id="a prefix with a final slash"),
        pytest.param('name = "things"\nprefix = "/a/../b"\n', ["prefix: ", "dot"], id="a prefix with a dot segment"),
        pytest.param('name = "things"\nprefix = "/{name}"\n', ["prefix: "], id="a variable in the prefix"),
        pytest.param('name = "things"\nprefix = "/\u00e9"\n', ["prefix: ", "ASCII"], id="a prefix beyond ASCII"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_key(text: str, says: list[str]) -> None:
    message = error_of(text)
    for word in says:
        assert word in message


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"methods": '["get"]'}, ["methods: 'get'"], id="a method in small letters"),
        pytest.param({"methods": '["GET", "HEAD"]'}, ["methods: 'HEAD'"], id="HEAD, which follows GET"),
        pytest.param({"methods": '["CONNECT"]'}, ["methods: 'CONNECT'"], id="CONNECT"),
        pytest.param({"methods": '["TRACE"]'}, ["methods: 'TRACE'"], id="TRACE"),
        pytest.param({"path": '"zones"'}, ["path: "], id="a path without a slash"),
        pytest.param({"path": '"/zones/"'}, ["path: ", "empty"], id="a path with a final slash"),
        pytest.param({"path": '"/zones//{zone_id}"'}, ["path: ", "empty"], id="an empty segment"),
        pytest.param({"path": '"/a/../{zone_id}"'}, ["path: ", "dot"], id="a dot segment"),
        pytest.param({"path": '"/a%2Fb/{zone_id}"'}, ["path: ", "encoded"], id="an encoded slash"),
        pytest.param({"path": '"/a/{zone_id}?b"'}, ["path: "], id="a query"),
        pytest.param({"path": '"/a-{zone_id}"'}, ["path: "], id="a variable that is part of a segment"),
        pytest.param({"path": '"/{Zone}"'}, ["path: "], id="a variable in capitals"),
        pytest.param({"path": '"/\u00e9"'}, ["path: ", "ASCII"], id="a path beyond ASCII"),
        pytest.param({"path": '"/{zone}"'}, ["{zone}", "not among the variables"], id="an unknown variable"),
        pytest.param({"path": '"/zones"'}, ["{zone_id} stands 0 times"], id="a resource that the path lacks"),
        pytest.param(
            {"path": '"/{zone_id}/{zone_id}"'}, ["{zone_id} stands 2 times"], id="a resource that stands twice"
        ),
        pytest.param({"resource": ""}, ["resource: "], id="no resource"),
        pytest.param({"resource": '"zone"'}, ["resource: "], id="a resource without a name"),
        pytest.param({"resource": '"zones:{zone_id}"'}, ["resource: "], id="an unknown kind of resource"),
        pytest.param({"resource": '"zone:zone_id"'}, ["'zone_id' names nothing"], id="a variable without braces"),
        pytest.param({"resource": '"zone:self"'}, ["'self' names nothing"], id="a zone of its own"),
        pytest.param({"resource": '"zones-of:{zone_id}"'}, ["names nothing"], id="zones of what the path names"),
        pytest.param(
            {"permission": '["Billing Read"]', "resource": '"account:{body.account.id}"'},
            ["names nothing"],
            id="an account that the body names",
        ),
        pytest.param(
            {"path": '"/{zone_name}"', "resource": '"zone:{zone_name}"'},
            ['zone_key = "dns-name"'],
            id="a DNS name where zones have ids",
        ),
        pytest.param({"permission": '["DNS Raed"]'}, ["'DNS Raed'", "on a zone"], id="an unknown group"),
        pytest.param({"permission": '["DNS Read", "Nothing"]'}, ["'Nothing'"], id="one unknown group of two"),
        pytest.param({"permission": '["Billing Read"]'}, ["'Billing Read'"], id="a group of another scope"),
        pytest.param({"permission": f'["id:{"9" * 32}"]'}, ["id:999"], id="an unknown id"),
        pytest.param(
            {"permission": f'["id:{group_id("Billing Read", Scope.ACCOUNT)}"]'}, ["id:"], id="an id of another scope"
        ),
        pytest.param({"permission": "[]"}, ["permission: "], id="no group"),
        pytest.param({"permission": '"DNS Read"'}, ["permission: "], id="a string that is not any-token"),
        pytest.param({"permission": '["any-token"]'}, ["'any-token'"], id="any-token in a list"),
        pytest.param({"permission": '"any-token"'}, ["any-token needs none"], id="any-token with a resource"),
        pytest.param(
            {"permission": '"any-token"', "resource": "", "filter": '{ items = "result", zone = "id" }'},
            ["filter: "],
            id="any-token with a filter",
        ),
        pytest.param({"resource": '"zone:*"'}, ["filter"], id="all zones without a filter"),
        pytest.param(
            {"permission": '["Billing Read"]', "resource": '"account:*"'},
            ["filter"],
            id="all accounts without a filter",
        ),
        pytest.param(
            {"filter": '{ items = "result", zone = "id" }'}, ["filter"], id="a filter on one zone's own route"
        ),
        pytest.param(
            {"permission": '["User Details Read"]', "resource": '"user:*"', "filter": '{ items = "result" }'},
            ["filter"],
            id="all users",
        ),
        *(
            pytest.param(LIST | changes, ["filter: ", *says], id=f"filter: {name}")
            for changes, says, name in (
                ({"methods": '["GET", "POST"]'}, ["GET"], "of a POST"),
                ({"filter": '{ items = "result" }'}, ["zone:*"], "zones that nothing names"),
                ({"filter": '{ items = "a..b", zone = "id" }'}, ["dots"], "an empty key"),
                ({"filter": '{ items = "result", zone = "id", pages = "page" }'}, ["pages"], "one parameter"),
                ({"filter": '{ items = "result", zone = "id", pages = "page/a b" }'}, ["pages"], "a space"),
                (
                    {
                        "permission": '["Account Settings Read"]',
                        "resource": '"account:*"',
                        "filter": '{ items = "result", zone = "id" }',
                    },
                    ["account:*"],
                    "accounts that nothing names",
                ),
            )
        ),
        pytest.param({"operation": '"list"'}, ["operation: "], id="an operation of the token API"),
        pytest.param({"reports": "true"}, ["reports: "], id="reports of leaked secrets"),
        pytest.param(
            {"methods": '["POST"]', "upgrade": '["websocket"]'}, ["upgrade: ", "GET"], id="a WebSocket without GET"
        ),
        pytest.param(LIST | {"upgrade": '["websocket"]'}, ["upgrade: ", "filter"], id="a WebSocket with a filter"),
        pytest.param(
            {"resource": '"zone:{body.name}"', "methods": '["GET", "POST"]'},
            ["methods: ", "body"],
            id="a GET whose body names the zone",
        ),
    ],
)
def test_what_is_wrong_with_a_route_is_told_with_the_route(changes: dict[str, str], says: list[str]) -> None:
    message = error_of(HEAD + ROUTE.replace("/zones/", "/good/") + route_text(**changes))
    assert message.startswith("route ")
    assert route_text(**changes).split('path = "')[1].split('"')[0] in message
    for word in says:
        assert word in message


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"methods": "[]"}, "route[0].methods: ", id="no method"),
        pytest.param({"path": ""}, "route[0]: ", id="no path"),
        pytest.param({"permission": ""}, "route[0]: ", id="no permission"),
        pytest.param({"permission": "7"}, "route[0].permission: ", id="a number for a permission"),
        pytest.param({"permision": "[]"}, "route[0].permision: ", id="an unknown key"),
        pytest.param({"upgrade": '"websocket"'}, "route[0].upgrade: ", id="a string for a list of upgrades"),
        pytest.param({"upgrade": '["h2c"]'}, "route[0].upgrade[0]: ", id="another upgrade"),
        pytest.param({"upgrade": '["WebSocket"]'}, "route[0].upgrade[0]: ", id="an upgrade in other letters"),
        pytest.param({"filter": "{}"}, "route[0].filter: ", id="a filter without items"),
        pytest.param({"filter": '{ items = "", zones = "" }'}, "route[0].filter.zones: ", id="an unknown filter"),
    ],
)
def test_a_route_of_the_wrong_shape_is_told_with_its_number(changes: dict[str, str], says: str) -> None:
    assert error_of(HEAD + route_text(**changes)).startswith(says)


def test_the_token_api_takes_its_prefix_from_the_settings_and_each_route_names_an_operation() -> None:
    text = HEAD + route_text(operation='"get"')
    api, (route,) = read_api("token_api.toml", text, GROUPS, "/client/v4")
    assert api.prefix == (b"client", b"v4")
    assert route.text == "/client/v4/zones/{zone_id}"
    assert route.operation == "get"
    with pytest.raises(CatalogError, match=r"token_api\.toml: route GET .*: operation: "):
        read_api("token_api.toml", HEAD + ROUTE, GROUPS, "/client/v4")


def test_no_operation_of_the_token_api_becomes_a_websocket() -> None:
    text = HEAD + route_text(operation='"get"', upgrade='["websocket"]')
    with pytest.raises(CatalogError, match=r"token_api\.toml: route GET .*: upgrade: "):
        read_api("token_api.toml", text, GROUPS, "/client/v4")


@pytest.mark.parametrize("prefix", ["client", "/client/", "/a//b", "/../b", "/a b", "/a%2Fb", "/{a}"])
def test_a_prefix_of_the_settings_is_judged_too(prefix: str) -> None:
    with pytest.raises(CatalogError, match=r"token_api\.toml: prefix: "):
        read_api("token_api.toml", HEAD, GROUPS, prefix)
