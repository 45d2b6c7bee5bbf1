"""What `policies/apis/powerdns.toml` says, as rules over all its routes."""

import pytest
from support.records import GROUPS, shipped_catalog

from gateway.catalog.api import Route, Where
from gateway.catalog.route_table import Matched, PathUnknown

TABLE = shipped_catalog(["powerdns"]).public
ROUTES = [route for route in TABLE.routes if route.api.name == "powerdns"]
ZONE_PATH = "/api/v1/servers/localhost/zones/alpha.example."
SHOW_SECRETS = {
    "/api/v1/servers/{server_id}/zones/{zone_id}/cryptokeys/{cryptokey_id}",
    "/api/v1/servers/{server_id}/tsigkeys/{tsigkey_id}",
    "/api/v1/servers/{server_id}/config",
    "/api/v1/servers/{server_id}/config/{config_setting_name}",
}


def matched(method: str, path: str) -> object:
    return TABLE.match(method, tuple(segment.encode() for segment in path[1:].split("/")))


def test_what_any_token_may_ask_is_about_the_server_s_version_alone() -> None:
    free = {(route.methods, route.text.removeprefix("/api")) for route in ROUTES if route.where is Where.NOWHERE}
    assert free == {(("GET",), path) for path in ("", "/docs", "/v1", "/v1/servers", "/v1/servers/{server_id}")}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{'/'.join(route.methods)} {route.text}")
def test_a_read_opens_no_change_no_secret_and_nothing_that_its_write_does_not(route: Route) -> None:
    for group in route.groups:
        if group.reads:
            assert route.methods == ("GET",)
            assert route.text not in SHOW_SECRETS
            write = group.name.removesuffix(" Read") + " Write"
            assert route.scope is not None
            assert GROUPS.named(write, route.scope)
            assert write in route.permissions


def test_what_shows_secrets_is_there() -> None:
    assert {route.text for route in ROUTES} > SHOW_SECRETS


@pytest.mark.parametrize("group", ["Zone Read", "Zone Write"])
def test_no_zone_group_opens_records(group: str) -> None:
    for method, path in (("GET", ZONE_PATH), ("PATCH", ZONE_PATH), ("GET", f"{ZONE_PATH}/export")):
        match = matched(method, path)
        assert isinstance(match, Matched)
        assert group not in match.route.permissions


@pytest.mark.parametrize(
    "path",
    [
        "/api/v2",
        "/api/v1/error",
        "/api/v1/servers/localhost/zones/alpha.example./check",
        "/api/v1/servers/localhost/zones/alpha.example..trusted",
        "/api/v1/servers/localhost/search-log",
        "/api/v1/servers/local.host/zones",
        "/v1/servers",
        "/API/v1/servers",
    ],
)
def test_a_path_that_is_not_listed_is_closed(path: str) -> None:
    assert matched("GET", path) == PathUnknown()
