from collections import Counter

import pytest
from support.records import CATALOG, GROUPS, shipped_catalog, token_api_text

from gateway.catalog.api import Where
from gateway.catalog.catalog import Catalog, load_catalog
from gateway.catalog.document import CatalogError
from gateway.catalog.route_table import Matched, MethodUnknown, PathUnknown, RouteTable
from gateway.tokens.permission_group import ALL_PERMISSIONS, own_group_id
from gateway.tokens.resource import Scope

ZONE_GROUP = '[[group]]\nid = "{id}"\nname = "{name}"\nscopes = ["com.cloudflare.api.account.zone"]\n'
USER_GROUP = ZONE_GROUP.replace("account.zone", "user")
ACCOUNT_GROUP = ZONE_GROUP.replace("account.zone", "account")
USER_GROUPS = (
    "API Tokens Read",
    "API Tokens Write",
    "Zonegate Audit Read",
    "Zonegate Owners Read",
    "Zonegate Owners Write",
)
GROUP_TEXT = (
    ZONE_GROUP.format(id="1" * 32, name="DNS Read")
    + "".join(USER_GROUP.format(id=f"{index:032x}", name=name) for index, name in enumerate(USER_GROUPS))
    + ACCOUNT_GROUP.format(id="e" * 32, name="Account API Tokens Read")
    + ACCOUNT_GROUP.format(id="d" * 32, name="Account API Tokens Write")
)
API_TEXT = """
name = "things"
prefix = "/client/v4"
variables = { zone_id = "id", name = "name", zone_name = "dns-name" }

[[route]]
methods = ["GET"]
path = "/zones/{zone_id}"
permission = ["DNS Read"]
resource = "zone:{zone_id}"
"""
FILES = {"permission_groups.toml": GROUP_TEXT, "zonegate_groups.toml": "", "apis/things.toml": API_TEXT}


def route_text(path: str) -> str:
    return f'\n[[route]]\nmethods = ["GET"]\npath = "{path}"\npermission = "any-token"\n'


def load(
    files: dict[str, str] | None = None,
    *,
    prefix: str = "/client/v4",
    served: tuple[str, ...] = ("things",),
    public_token_api: bool = True,
) -> Catalog:
    return load_catalog(
        {**FILES, **(files or {})},
        token_api_text(),
        prefix=prefix,
        served=served,
        public_token_api=public_token_api,
    )


def paths(table: RouteTable) -> set[str]:
    return {route.text for route in table.routes}


def test_a_catalogue_is_the_sum_of_its_files() -> None:
    found = load()
    names = ["DNS Read", *USER_GROUPS, "Account API Tokens Read", "Account API Tokens Write"]
    assert [group.name for group in found.groups] == names
    assert [api.name for api in found.apis] == ["zonegate", "things"]
    assert found.templates == ()
    assert {"/client/v4/zones/{zone_id}", "/client/v4/user/tokens"} <= paths(found.public)


def test_an_api_that_is_not_served_has_no_routes_but_is_checked() -> None:
    assert "/client/v4/zones/{zone_id}" not in paths(load(served=()).public)
    with pytest.raises(CatalogError, match=r"^apis/things\.toml: "):
        load({"apis/things.toml": API_TEXT + route_text("/{unknown}")}, served=())


def test_the_admin_listener_has_the_token_api_and_nothing_else() -> None:
    found = load()
    assert paths(found.admin) == paths(load(served=()).public)
    assert all(route.api.name == "zonegate" for route in found.admin.routes)


def test_the_token_api_leaves_the_public_listener_on_demand_but_never_the_admin_one() -> None:
    found = load(public_token_api=False)
    assert paths(found.public) == {"/client/v4/zones/{zone_id}"}
    assert "/client/v4/user/tokens" in paths(found.admin)


def test_the_token_api_lives_under_the_prefix_of_the_settings() -> None:
    found = load(prefix="/gate")
    assert "/gate/user/tokens/{token_id}" in paths(found.public)
    assert not any(path.startswith("/client/v4/user") for path in paths(found.public))


def test_every_field_in_which_some_served_api_takes_a_token_is_known() -> None:
    text = API_TEXT.replace("variables", 'credential_headers = ["X-API-Key"]\nvariables')
    assert load().credential_fields == {"authorization"}
    assert load({"apis/things.toml": text}).credential_fields == {"authorization", "x-api-key"}
    assert load({"apis/things.toml": text}, served=()).credential_fields == {"authorization"}


def test_files_that_are_no_apis_are_left_alone() -> None:
    more = {"apis/notes.md": "#", "apis/old/things.toml": "?", "tests/x.toml": "?", "apis.toml": "?"}
    assert paths(load(more).public) == paths(load().public)


def error_of(files: dict[str, str], served: tuple[str, ...] = ("things",)) -> str:
    with pytest.raises(CatalogError) as raised:
        load(files, served=served)
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("file", ["permission_groups.toml", "zonegate_groups.toml"])
def test_a_file_of_groups_that_is_missing_is_told(file: str) -> None:
    with pytest.raises(CatalogError, match=rf"^{file}: missing$"):
        load_catalog(
            {name: text for name, text in FILES.items() if name != file},
            token_api_text(),
            prefix="/client/v4",
            served=(),
            public_token_api=True,
        )


NEW_ID = "9" * 32


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("[group]\n", ["group: "], id="a table for a list"),
        pytest.param(ZONE_GROUP.format(id="x" * 32, name="A"), ["group[0].id"], id="an id that is not hex"),
        pytest.param(ZONE_GROUP.format(id="A" * 32, name="A"), ["group[0].id"], id="an id in capitals"),
        pytest.param(ZONE_GROUP.format(id="9" * 31, name="A"), ["group[0].id"], id="an id of 31 digits"),
        pytest.param(ZONE_GROUP.format(id=NEW_ID, name=""), ["group[0].name"], id="an empty name"),
        pytest.param(
            ZONE_GROUP.format(id=NEW_ID, name="A").replace(".zone", ".zones"), ["group[0].scopes"], id="a scope"
        ),
        pytest.param(f'[[group]]\nid = "{NEW_ID}"\nname = "A"\nscopes = []\n', ["group[0].scopes"], id="no scope"),
        pytest.param(
            ZONE_GROUP.format(id=NEW_ID, name="A") + "reads = true\n",
            ["group[0].reads: unknown key"],
            id="an unknown key",
        ),
        pytest.param(ZONE_GROUP.format(id="1" * 32, name="A"), ["group 'A'", "taken"], id="a taken id"),
        pytest.param(
            ZONE_GROUP.format(id=NEW_ID, name="DNS Read"),
            ["group 'DNS Read'", "taken"],
            id="a name taken in this scope",
        ),
    ],
)
def test_what_is_wrong_with_a_group_is_told_with_file_and_group(text: str, says: list[str]) -> None:
    message = error_of({"zonegate_groups.toml": text})
    assert message.startswith("zonegate_groups.toml: ")
    for word in says:
        assert word in message


def test_a_name_may_stand_once_in_each_scope() -> None:
    groups = load({"zonegate_groups.toml": USER_GROUP.format(id=NEW_ID, name="DNS Read")}).groups
    one, two = groups.named("DNS Read", Scope.ZONE), groups.named("DNS Read", Scope.USER)
    assert one is not None
    assert two is not None
    assert (one.id, two.id) == ("1" * 32, NEW_ID)


@pytest.mark.parametrize(
    ("files", "file", "says"),
    [
        pytest.param(
            {"apis/others.toml": API_TEXT}, "apis/others.toml", ["name: ", "'things'"], id="another name than the file"
        ),
        pytest.param(
            {"apis/zonegate.toml": 'name = "zonegate"\nprefix = ""\n'},
            "apis/zonegate.toml",
            ["name: ", "the token API's"],
            id="the token API's own name",
        ),
        pytest.param(
            {"apis/others.toml": API_TEXT.replace('"things"', '"others"')},
            "apis/things.toml",
            ["GET", "/client/v4/zones/{zone_id}", "apis/others.toml", "same shape and method"],
            id="two apis with one route",
        ),
        pytest.param(
            {"apis/things.toml": API_TEXT + route_text("/zones/{zone_name}")},
            "apis/things.toml",
            ["GET", "/client/v4/zones/{zone_name}", "same shape and method"],
            id="two routes of one shape",
        ),
        pytest.param({"templates.toml": "[[template]]\n"}, "templates.toml", ["template[0]"], id="a template"),
        pytest.param(
            {"permission_groups.toml": GROUP_TEXT.replace("API Tokens Write", "Other")},
            "token_api.toml",
            ["route GET", "'API Tokens Write'"],
            id="a group that the token API needs",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_file(files: dict[str, str], file: str, says: list[str]) -> None:
    message = error_of(files)
    assert message.startswith(f"{file}: ")
    for word in says:
        assert word in message


def test_a_clash_is_found_whoever_is_served() -> None:
    message = error_of({"apis/others.toml": API_TEXT.replace('"things"', '"others"')}, served=())
    assert "same shape and method" in message


def test_an_upstream_without_a_file_is_told_with_the_names_that_there_are() -> None:
    message = error_of({}, served=("things", "thongs"))
    assert message.startswith("apis/thongs.toml: missing")
    assert "upstreams.thongs" in message
    assert "there are: things" in message


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/user/tokens", id="the token list"),
        pytest.param("/user/tokens/verify", id="a path that is taken"),
        pytest.param("/user/tokens/later/more", id="a path that is free as yet"),
        pytest.param("/accounts/{zone_id}/tokens", id="an account's tokens"),
        pytest.param("/accounts/shop/tokens", id="one account's tokens"),
        pytest.param("/accounts/{zone_name}/tokens/{zone_id}", id="under an account's tokens"),
        pytest.param("/zonegate", id="our own extensions"),
        pytest.param("/zonegate/owners", id="under our own extensions"),
        pytest.param("/{name}", id="a variable that takes zonegate"),
        pytest.param("/{zone_name}/x", id="a wide variable that takes zonegate"),
        pytest.param("/user/{name}", id="a variable that takes tokens"),
        pytest.param("/user/{zone_name}/x", id="a wide variable that takes tokens"),
        pytest.param("/{name}/tokens", id="a variable that takes user"),
        pytest.param("/accounts/{zone_id}/{name}", id="a variable that takes an account's tokens"),
    ],
)
def test_the_token_api_s_paths_are_reserved(path: str) -> None:
    message = error_of({"apis/things.toml": API_TEXT + route_text(path)})
    assert message.startswith("apis/things.toml: ")
    assert f"route '/client/v4{path}'" in message
    assert "lies under a path of the token API" in message


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/user", id="above the tokens"),
        pytest.param("/user/billing/tokens", id="beside the tokens"),
        pytest.param("/user/{zone_id}", id="a variable that does not take tokens"),
        pytest.param("/accounts/{zone_id}/members", id="beside an account's tokens"),
        pytest.param("/zonegates", id="beside our own extensions"),
    ],
)
def test_what_lies_beside_them_is_free(path: str) -> None:
    assert f"/client/v4{path}" in paths(load({"apis/things.toml": API_TEXT + route_text(path)}).public)


def test_reserved_paths_follow_the_prefix_of_the_settings() -> None:
    own = {"apis/things.toml": API_TEXT + route_text("/user/tokens")}
    assert "/client/v4/user/tokens" in paths(load(own, prefix="/gate").public)
    elsewhere = {"apis/things.toml": API_TEXT.replace("/client/v4", "") + route_text("/gate/user/tokens")}
    with pytest.raises(CatalogError, match="lies under a path of the token API"):
        load(elsewhere, prefix="/gate")


# The set in the package.


def test_all_groups_of_the_token_api_s_catalogue_are_there_and_ours_beside_them() -> None:
    ours = [group for group in GROUPS if group.id == own_group_id(group.name, group.scopes[0])]
    assert [(group.name, group.scopes) for group in ours] == [
        (ALL_PERMISSIONS, (Scope.ZONE,)),
        (ALL_PERMISSIONS, (Scope.ACCOUNT,)),
        (ALL_PERMISSIONS, (Scope.USER,)),
        ("User Billing Read", (Scope.USER,)),
        ("Zonegate Audit Read", (Scope.USER,)),
        ("Zonegate Owners Read", (Scope.USER,)),
        ("Zonegate Owners Write", (Scope.USER,)),
        ("DNSSEC Keys Write", (Scope.ZONE,)),
        ("PowerDNS Server Read", (Scope.USER,)),
        ("PowerDNS Server Write", (Scope.USER,)),
        ("PowerDNS TSIG Keys Write", (Scope.USER,)),
        ("PowerDNS Cache Purge", (Scope.USER,)),
    ]
    theirs = [group for group in GROUPS if group not in ours]
    assert len(theirs) == 311
    assert Counter(scope for group in theirs for scope in group.scopes) == {
        Scope.ZONE: 86,
        Scope.ACCOUNT: 217,
        Scope.USER: 6,
        Scope.R2_BUCKET: 2,
    }


@pytest.mark.parametrize(
    ("name", "scope", "group_id"),
    [
        ("DNS Read", Scope.ZONE, "82e64a83756745bbbb1c9c2701bf816b"),
        ("DNS Write", Scope.ZONE, "4755a26eedb94da69e1066d98aa820be"),
        ("Zone Read", Scope.ZONE, "c8fed203ed3043cba015a93ad1616f1f"),
        ("Cache Purge", Scope.ZONE, "e17beae8b8cb423a99b1730f21238bed"),
        ("Logs Read", Scope.ZONE, "c4a30cd58c5d42619c86a3c36c441e2d"),
        ("Logs Read", Scope.ACCOUNT, "6a315a56f18441e59ed03352369ae956"),
        ("Billing Read", Scope.ACCOUNT, "7cf72faf220841aabcfdfab81c43c4f6"),
        ("API Tokens Write", Scope.USER, "686d18d5ac6c441c867cbf6771e58a0a"),
    ],
)
def test_a_group_has_its_public_id(name: str, scope: Scope, group_id: str) -> None:
    group = GROUPS.named(name, scope)
    assert group is not None
    assert group.id == group_id


TEMPLATES = {
    "Edit zone DNS": {Scope.ZONE: {"DNS Write"}},
    "Read billing info": {Scope.ACCOUNT: {"Billing Read"}},
    "Read analytics and logs": {Scope.ZONE: {"Analytics Read", "Logs Read"}},
    "Edit Cloudflare Workers": {
        Scope.ZONE: {"Workers Routes Write"},
        Scope.ACCOUNT: {
            "Workers Scripts Write",
            "Workers KV Storage Write",
            "Workers R2 Storage Write",
            "Workers Tail Read",
            "Account Settings Read",
        },
        Scope.USER: {"User Details Read", "Memberships Read"},
    },
    "Edit load balancing configuration": {
        Scope.ACCOUNT: {"Load Balancing: Monitors and Pools Write"},
        Scope.ZONE: {"Load Balancers Write"},
    },
    "WordPress": {
        Scope.ZONE: {"Analytics Read", "Zone Read", "Zone Settings Write", "DNS Read", "Cache Purge"},
        Scope.ACCOUNT: {"Account Settings Read"},
    },
    "Create additional tokens": {Scope.USER: {"API Tokens Write"}},
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_shipped_template_gives_the_groups_of_the_token_api_s(name: str) -> None:
    (template,) = (template for template in CATALOG.templates if template.name == name)
    assert {policy.scope: {group.name for group in policy.groups} for policy in template.policies} == TEMPLATES[name]
    assert all(policy.scope in group.scopes for policy in template.policies for group in policy.groups)
    assert template.description


def test_the_template_that_reads_everything_reads_only() -> None:
    (template,) = (template for template in CATALOG.templates if template.name == "Read all resources")
    assert {policy.scope for policy in template.policies} == {Scope.ZONE, Scope.ACCOUNT, Scope.USER}
    assert all(group.reads for policy in template.policies for group in policy.groups)
    assert {policy.resources for policy in template.policies} == {"all"}


def test_there_is_no_other_template() -> None:
    assert {template.name for template in CATALOG.templates} == {*TEMPLATES, "Read all resources"}


@pytest.mark.parametrize(
    "served", [(), ("cloudflare-dns",), ("billing",), ("powerdns",), ("billing", "cloudflare-dns", "powerdns")]
)
def test_each_shipped_api_compiles_alone_and_with_the_others(served: tuple[str, ...]) -> None:
    assert {api.name for api in shipped_catalog(served).apis} == {"zonegate", *served}


ZONE_PATH = "/client/v4/zones/" + "a" * 32
RECORD_PATH = f"{ZONE_PATH}/dns_records/{'b' * 32}"
ACCOUNT_PATH = "/client/v4/accounts/" + "c" * 32


@pytest.mark.parametrize(
    ("methods", "path", "opens"),
    [
        ("GET", "/client/v4/zones", "Zone Read, Zone Write"),
        ("POST", "/client/v4/zones", "Zone Write"),
        ("GET", ZONE_PATH, "Zone Read, Zone Write"),
        ("PATCH DELETE", ZONE_PATH, "Zone Write"),
        ("POST", f"{ZONE_PATH}/purge_cache", "Cache Purge"),
        ("PUT", f"{ZONE_PATH}/activation_check", "Zone Write"),
        ("GET", f"{ZONE_PATH}/dns_records", "DNS Read, DNS Write"),
        ("POST", f"{ZONE_PATH}/dns_records", "DNS Write"),
        ("GET", RECORD_PATH, "DNS Read, DNS Write"),
        ("PUT PATCH DELETE", RECORD_PATH, "DNS Write"),
        ("POST", f"{ZONE_PATH}/dns_records/batch", "DNS Write"),
        ("GET", f"{ZONE_PATH}/dns_records/export", "DNS Read, DNS Write"),
        ("POST", f"{ZONE_PATH}/dns_records/import", "DNS Write"),
        ("POST", f"{ZONE_PATH}/dns_records/scan", "DNS Write"),
        ("GET", f"{ZONE_PATH}/dnssec", "DNS Read, DNS Write"),
        ("PATCH DELETE", f"{ZONE_PATH}/dnssec", "DNS Write"),
        ("GET", "/client/v4/accounts", "Account Settings Read, Account Settings Write"),
        ("GET", ACCOUNT_PATH, "Account Settings Read, Account Settings Write"),
        ("GET", "/client/v4/user", "User Details Read, User Details Write"),
        ("GET", f"{ACCOUNT_PATH}/billing/profile", "Billing Read, Billing Write"),
        ("POST PUT", f"{ACCOUNT_PATH}/billing/profile", "Billing Write"),
        ("GET", f"{ACCOUNT_PATH}/billing/history", "Billing Read, Billing Write"),
        ("GET", f"{ACCOUNT_PATH}/billing/credits", "Billing Read, Billing Write"),
        ("GET", f"{ACCOUNT_PATH}/billing/unpaid-invoice", "Billing Read, Billing Write"),
        ("GET", f"{ACCOUNT_PATH}/billing/bad-debt", "Billing Read, Billing Write"),
        ("GET", f"{ACCOUNT_PATH}/billable/usage", "Billing Read, Billing Write"),
        ("GET", "/client/v4/user/billing/profile", "User Billing Read"),
        ("GET", "/client/v4/user/billing/history", "User Billing Read"),
        ("GET", "/client/v4/billing/rate_plans/pro_plan", "User Billing Read"),
        ("GET", "/client/v4/user/tokens", "API Tokens Read, API Tokens Write"),
        ("POST", "/client/v4/user/tokens", "API Tokens Write"),
        ("GET", "/client/v4/user/tokens/verify", ""),
        ("POST", "/client/v4/user/tokens/revoke-self", ""),
        ("GET", "/client/v4/user/tokens/permission_groups", "API Tokens Read, API Tokens Write"),
        ("GET", "/client/v4/user/tokens/" + "f" * 32, "API Tokens Read, API Tokens Write"),
        ("PUT DELETE", "/client/v4/user/tokens/" + "f" * 32, "API Tokens Write"),
        ("PUT", "/client/v4/user/tokens/" + "f" * 32 + "/value", "API Tokens Write"),
        ("POST", "/client/v4/user/tokens/" + "f" * 32 + "/explain", "API Tokens Read, API Tokens Write"),
        ("GET", f"{ACCOUNT_PATH}/tokens", "Account API Tokens Read, Account API Tokens Write"),
        ("POST", f"{ACCOUNT_PATH}/tokens", "Account API Tokens Write"),
        ("GET", f"{ACCOUNT_PATH}/tokens/{'f' * 32}", "Account API Tokens Read, Account API Tokens Write"),
        ("PUT DELETE", f"{ACCOUNT_PATH}/tokens/{'f' * 32}", "Account API Tokens Write"),
        ("PUT", f"{ACCOUNT_PATH}/tokens/{'f' * 32}/value", "Account API Tokens Write"),
        ("POST", f"{ACCOUNT_PATH}/tokens/{'f' * 32}/explain", "Account API Tokens Read, Account API Tokens Write"),
        ("GET", "/client/v4/zonegate/audit", "Zonegate Audit Read"),
        ("GET", "/client/v4/zonegate/owners", "Zonegate Owners Read, Zonegate Owners Write"),
        ("POST", "/client/v4/zonegate/owners", "Zonegate Owners Write"),
        ("PUT DELETE", f"/client/v4/zonegate/zones/cloudflare-dns/{'a' * 32}", "Zonegate Owners Write"),
    ],
)
def test_a_shipped_endpoint_is_opened_by_its_groups(methods: str, path: str, opens: str) -> None:
    segments = [segment.encode() for segment in path.split("/")[1:]]
    for method in methods.split():
        match = CATALOG.public.match(method, tuple(segments))
        assert isinstance(match, Matched), method
        assert ", ".join(match.route.permissions) == opens
        assert all(match.route.scope in group.scopes for group in match.route.groups)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", ZONE_PATH),
        ("DELETE", f"{ZONE_PATH}/dns_records"),
        ("PUT", f"{ZONE_PATH}/dns_records/export"),
        ("POST", RECORD_PATH),
        ("POST", "/client/v4/accounts"),
        ("OPTIONS", ZONE_PATH),
    ],
)
def test_a_method_that_is_not_listed_is_closed(method: str, path: str) -> None:
    segments = [segment.encode() for segment in path.split("/")[1:]]
    assert isinstance(CATALOG.public.match(method, tuple(segments)), MethodUnknown)


@pytest.mark.parametrize(
    "path",
    [
        "/client/v4",
        "/client/v4/memberships",
        f"{ZONE_PATH}/settings",
        f"{ZONE_PATH}/dns_records/batch/x",
        f"{ACCOUNT_PATH}/tokens/{'f' * 32}/leaked",
        f"{ACCOUNT_PATH}/billing",
        "/client/v4/accounts/0123456789abcdef0123456789abcdef/tokens/leaked",
        "/client/v4/zonegate/freeze",
        "/zones",
    ],
)
def test_a_path_that_is_not_listed_is_closed(path: str) -> None:
    segments = [segment.encode() for segment in path.split("/")[1:]]
    assert CATALOG.public.match("GET", tuple(segments)) == PathUnknown()


def test_what_read_opens_write_opens_too() -> None:
    for route in CATALOG.public.routes:
        for group in route.groups:
            write = group.name.removesuffix(" Read") + " Write"
            if route.scope and group.reads and GROUPS.named(write, route.scope):
                assert write in route.permissions, route.text


def test_only_the_routes_of_whoever_holds_a_secret_need_no_right() -> None:
    free = {route.text for route in CATALOG.public.routes if route.where is Where.NOWHERE}
    assert free == {
        f"/client/v4/{owner}/tokens/{what}"
        for owner in ("user", "accounts/{account_id}")
        for what in ("verify", "revoke-self")
    } | {"/client/v4/user/tokens/leaked"}
    assert [route.text for route in CATALOG.public.routes if route.reports] == ["/client/v4/user/tokens/leaked"]


def test_each_route_of_the_token_api_has_an_operation_and_no_other_has() -> None:
    operations = {route.operation for route in CATALOG.admin.routes}
    assert operations == {
        "list",
        "create",
        "verify",
        "revoke-self",
        "leaked",
        "permission-groups",
        "get",
        "update",
        "delete",
        "roll",
        "explain",
        "audit",
        *("list-owners", "create-owner", "get-owner", "update-owner", "delete-owner"),
        *("get-zone", "set-zone", "unset-zone"),
    }
    assert all(bool(route.operation) == (route.api.name == "zonegate") for route in CATALOG.public.routes)


def faults_of(files: dict[str, str], served: tuple[str, ...] = ("things",)) -> list[tuple[str, int, str]]:
    with pytest.raises(CatalogError) as raised:
        load(files, served=served)
    return [(fault.file, fault.line, fault.message) for fault in raised.value.faults]


def test_all_faults_of_all_files_are_told_at_once_each_with_its_line() -> None:
    broken = (
        API_TEXT
        + route_text("/{unknown}")
        + "\n[[route]]\nmethods = ['GETT']\npath = '/a'\npermission = 'any-token'\n"
        + "\n[[route]]\nmethod = ['GET']\npath = '/b'\npermission = 'any-token'\n"
        + route_text("/user/tokens/x")
        + route_text("/zones/{zone_name}")
    )
    found = faults_of(
        {
            "zonegate_groups.toml": ZONE_GROUP.format(id="1" * 32, name="A") + ZONE_GROUP.format(id="x", name="B"),
            "templates.toml": "[[template]]\nname = 'T'\n",
            "apis/broken.toml": "name = 'broken'\nprefix =\n",
            "apis/others.toml": API_TEXT.replace('"things"', '"another"'),
            "apis/things.toml": broken,
        }
    )
    assert [(file, line) for file, line, _ in found] == [
        ("zonegate_groups.toml", 1),
        ("zonegate_groups.toml", 6),
        ("templates.toml", 1),
        ("templates.toml", 1),
        ("apis/broken.toml", 2),
        ("apis/others.toml", 2),
        ("apis/things.toml", 14),
        ("apis/things.toml", 18),
        ("apis/things.toml", 23),
        ("apis/things.toml", 22),
        ("apis/things.toml", 27),
        ("apis/things.toml", 32),
    ]


def test_two_routes_of_one_shape_are_told_with_the_line_of_the_second() -> None:
    ((file, line, message),) = faults_of({"apis/things.toml": API_TEXT + route_text("/zones/{zone_name}")})
    assert (file, line) == ("apis/things.toml", 12)
    assert "same shape and method" in message


def test_without_a_file_of_groups_nothing_is_said_of_who_needs_them() -> None:
    files = {name: text for name, text in FILES.items() if name != "permission_groups.toml"}
    with pytest.raises(CatalogError) as raised:
        load_catalog(
            {**files, "apis/broken.toml": "x ="}, token_api_text(), prefix="", served=(), public_token_api=True
        )
    assert [fault.file for fault in raised.value.faults] == ["permission_groups.toml", "apis/broken.toml"]


def test_an_api_whose_file_is_broken_is_not_missing() -> None:
    assert [file for file, _, _ in faults_of({"apis/broken.toml": "x ="}, served=("broken",))] == ["apis/broken.toml"]
