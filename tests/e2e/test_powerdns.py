"""A real PowerDNS behind the gateway. What came of a request is asked over DNS; a refused one never reaches the server.

`closed.example.` is the zone that no token of these tests opens: a path with its name in the server's log got through.
"""

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import dns.message
import dns.opcode
import httpx
import pytest
import yaml
from support.powerdns import KEY
from support.powerdns_front import (
    ALL_OF_A_ZONE,
    ALPHA,
    BETA,
    CLOSED,
    EVERY_ZONE,
    REVERSE,
    Front,
    change,
    fronted,
    policy,
    refused,
)
from support.processes import UPSTREAM_SECRET
from support.records import USER_SCOPE, shipped_catalog, user, zone

from gateway.catalog.route_table import Matched


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with fronted(tmp_path_factory.mktemp("powerdns")) as found:
        yield found


# The credential.


def test_a_token_is_shown_as_a_key_or_as_a_bearer(front: Front) -> None:
    secret = front.token(("DNS Read",), zone(ALPHA))
    as_key = front.raw("GET", "", {"X-API-Key": secret})
    as_bearer = front.raw("GET", "", {"Authorization": f"Bearer {secret}"})
    assert as_key.json() == as_bearer.json() == [{"url": "/api/v1", "version": 1}]


@pytest.mark.parametrize("fields", [("X-API-Key", "X-API-Key"), ("X-API-Key", "Authorization")])
def test_a_token_that_is_shown_twice_is_malformed(front: Front, fields: tuple[str, str]) -> None:
    secret = front.token(("DNS Read",), zone(ALPHA))
    shown = [(field, f"Bearer {secret}" if field == "Authorization" else secret) for field in fields]
    assert refused(front.raw("GET", "", shown), 400, 6003)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 401, id="nothing"),
        pytest.param({"X-API-Key": KEY}, 400, id="the server's own key"),
        pytest.param({"X-API-Key": f"zgt_{'0' * 32}_{'a' * 49}"}, 400, id="junk"),
    ],
)
def test_without_a_token_there_is_nothing(front: Front, headers: dict[str, str], status: int) -> None:
    answer = front.raw("GET", f"/v1/servers/localhost/zones/{CLOSED}", headers)
    assert answer.status_code == status
    assert front.nothing_reached(CLOSED)


def test_a_key_in_the_query_is_not_taken(front: Front) -> None:
    secret = front.token(("DNS Read",), zone(ALPHA))
    assert front.raw("GET", f"?api-key={secret}", {}).status_code == 401
    for name in ("api-key", "API-Key", "api%2Dkey"):
        assert refused(front.ask("GET", f"/zones/{ALPHA}?{name}=x", secret), 400, 6003)


def test_what_clients_ask_first_is_open_to_any_token(front: Front) -> None:
    secret = front.token(("Cache Purge",), zone(ALPHA))
    for path in ("", "/docs", "/v1", "/v1/servers", "/v1/servers/localhost"):
        assert front.raw("GET", path, {"X-API-Key": secret}).status_code == 200, path


def test_every_endpoint_that_the_server_tells_of_has_a_route(front: Front) -> None:
    told = yaml.safe_load(httpx.get(f"{front.server.url}/api/docs", headers={"X-API-Key": KEY}).text)
    values = {"server_id": "localhost", "zone_id": ALPHA, "cryptokey_id": "1", "ip": "192.0.2.1"}
    asked = {
        (method.upper(), re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], "some"), f"/api/v1{path}"))
        for path, operations in told["paths"].items()
        for method in operations
        if method != "parameters"
    }
    table = shipped_catalog(["powerdns"]).public
    closed = {
        (method, path)
        for method, path in asked
        if not isinstance(table.match(method, tuple(path.encode()[1:].split(b"/"))), Matched)
    }
    assert len(asked) > 30
    assert closed == {("GET", "/api/v1/error")}


# Records.


@pytest.mark.parametrize("spelling", [ALPHA, "alpha.example", "ALPHA.eXample", "Alpha.Example."])
@pytest.mark.parametrize("named", [ALPHA, "alpha.example", "Alpha.Example"])
def test_a_record_set_is_changed_under_every_spelling_of_its_zone(front: Front, named: str, spelling: str) -> None:
    secret = front.token(("DNS Write",), zone(named))
    name = f"www-{secret[4:12]}.{ALPHA}"
    answer = front.ask("PATCH", f"/zones/{spelling}", secret, json=change(name, "192.0.2.7"))
    assert answer.status_code == 204
    assert front.server.answers(name, "A") == {"192.0.2.7"}
    found = front.ask("GET", f"/zones/{spelling}", secret).json()
    assert name in {records["name"] for records in found["rrsets"]}


@pytest.mark.parametrize(
    "named", [REVERSE, "0/25.2.0.192.in-addr.arpa", "0/25.2.0.192.IN-ADDR.arpa.", "0=2F25.2.0.192.in-addr.arpa"]
)
def test_a_slash_in_a_zone_s_name_is_escaped_in_a_path_and_plain_or_escaped_in_a_policy(
    front: Front, named: str
) -> None:
    secret = front.token(("DNS Write",), zone(named))
    name = f"1.{REVERSE}"
    for content, spelling in (
        ("a.example.", "0=2F25.2.0.192.in-addr.arpa."),
        ("b.example.", "0=2F25.2.0.192.IN-addr.arpa"),
    ):
        answer = front.ask("PATCH", f"/zones/{spelling}", secret, json=change(name, content, "PTR"))
        assert answer.status_code == 204
        assert front.server.answers(name, "PTR") == {content}


@pytest.mark.parametrize(
    ("spelling", "status", "code"),
    [
        pytest.param("=63losed.example.", 404, 7003, id="an escaped letter"),
        pytest.param("closed=2Eexample.", 404, 7003, id="an escaped dot"),
        pytest.param("closed.example=2e", 404, 7003, id="an escape in lower case"),
        pytest.param("closed..example.", 404, 7003, id="an empty label"),
        pytest.param("closed.example..trusted", 404, 7003, id="a variant of a view"),
        pytest.param("%63losed.example.", 400, 6003, id="a letter in percent"),
        pytest.param("closed%2Eexample.", 400, 6003, id="a dot in percent"),
        pytest.param("x%2F..%2Fclosed.example.", 400, 6003, id="a slash in percent"),
        pytest.param("x/../closed.example.", 400, 6003, id="a step back"),
    ],
)
def test_a_zone_has_no_other_spelling(front: Front, spelling: str, status: int, code: int) -> None:
    asked = http.client.HTTPConnection("127.0.0.1", front.gateway.port, timeout=20)  # others would tidy the path up
    with contextlib.closing(asked):
        asked.request("GET", f"/api/v1/servers/localhost/zones/{spelling}", headers={"X-API-Key": front.gateway.first})
        answer = asked.getresponse()
        assert answer.status == status
        assert json.load(answer)["errors"][0]["code"] == code
    assert front.nothing_reached(CLOSED)


ON_A_ZONE = [
    pytest.param("GET", "", "DNS Read, DNS Write", id="the zone with its records"),
    pytest.param("PATCH", "", "DNS Write", id="records"),
    pytest.param("PUT", "", "Zone Write", id="how the zone works"),
    pytest.param("DELETE", "", "Zone Write", id="the zone's end"),
    pytest.param("GET", "/export", "DNS Read, DNS Write", id="export"),
    pytest.param("PUT", "/notify", "DNS Write", id="notify"),
    pytest.param("PUT", "/axfr-retrieve", "Zone Write", id="axfr-retrieve"),
    pytest.param("PUT", "/rectify", "Zone Write", id="rectify"),
    pytest.param("GET", "/metadata", "Zone Read, Zone Write", id="all metadata"),
    pytest.param("POST", "/metadata", "Zone Write", id="new metadata"),
    pytest.param("GET", "/metadata/ALSO-NOTIFY", "Zone Read, Zone Write", id="metadata"),
    pytest.param("PUT", "/metadata/ALSO-NOTIFY", "Zone Write", id="other metadata"),
    pytest.param("DELETE", "/metadata/ALSO-NOTIFY", "Zone Write", id="no metadata"),
    pytest.param("GET", "/cryptokeys", "DNS Read, DNS Write, Zone Read, Zone Write, DNSSEC Keys Write", id="keys"),
    pytest.param("POST", "/cryptokeys", "Zone Write, DNSSEC Keys Write", id="a new key"),
    pytest.param("GET", "/cryptokeys/1", "DNSSEC Keys Write", id="a private key"),
    pytest.param("PUT", "/cryptokeys/1", "Zone Write, DNSSEC Keys Write", id="a key on or off"),
    pytest.param("DELETE", "/cryptokeys/1", "Zone Write, DNSSEC Keys Write", id="a key's end"),
]


@pytest.mark.parametrize(("method", "rest", "opens"), [row for row in ON_A_ZONE if row.id != "keys"])
def test_every_other_group_on_the_zone_is_refused(front: Front, method: str, rest: str, opens: str) -> None:
    others = tuple(name for name in ALL_OF_A_ZONE if name not in opens.split(", "))
    secret = front.token((*others, "Cache Purge"), zone(CLOSED))
    answer = front.ask(method, f"/zones/{CLOSED}{rest}", secret, json={})
    assert refused(answer)
    assert answer.headers["X-Accepted-Permissions"] == opens
    assert front.nothing_reached(CLOSED)


@pytest.mark.parametrize(("method", "rest", "opens"), ON_A_ZONE)
def test_all_groups_on_another_zone_are_refused(front: Front, method: str, rest: str, opens: str) -> None:
    secret = front.token(ALL_OF_A_ZONE, zone(ALPHA))
    answer = front.ask(method, f"/zones/{CLOSED}{rest}", secret, json=change(f"www.{CLOSED}", "192.0.2.66"))
    assert refused(answer)
    assert answer.headers["X-Accepted-Permissions"] == opens
    assert front.nothing_reached(CLOSED)
    assert front.server.answers(f"www.{CLOSED}", "A") == set()


@pytest.mark.parametrize("spelling", [CLOSED, "closed.example", "CLOSED.EXAMPLE", "cLosed.example."])
@pytest.mark.parametrize("named", [CLOSED, "closed.example", "Closed.EXAMPLE"])
def test_what_is_excluded_is_closed_under_every_spelling(front: Front, named: str, spelling: str) -> None:
    secret = front.token_of(policy(ALL_OF_A_ZONE, EVERY_ZONE), policy(ALL_OF_A_ZONE, zone(named), effect="deny"))
    assert refused(front.ask("GET", f"/zones/{spelling}", secret))
    assert refused(front.ask("PATCH", f"/zones/{spelling}", secret, json=change(f"www.{CLOSED}", "192.0.2.66")))
    assert refused(front.ask("DELETE", f"/zones/{spelling}", secret))
    assert front.nothing_reached(CLOSED)
    assert front.ask("GET", f"/zones/{BETA}", secret).status_code == 200


# Lists.


def test_the_zone_list_has_the_token_s_zones(front: Front) -> None:
    for groups in (("Zone Read",), ("Zone Write",), ("DNS Read",), ("DNS Write",)):
        two = front.token(groups, zone("ALPHA.example"), zone("0/25.2.0.192.in-addr.arpa"))
        answer = front.ask("GET", "/zones", two)
        assert {found["name"] for found in answer.json()} == {ALPHA, REVERSE}, groups
        assert CLOSED not in answer.text
    none = front.token(("DNS Read",), zone("nowhere.example"))
    assert (front.ask("GET", "/zones", none).json(), front.ask("GET", f"/zones?zone={CLOSED}", none).json()) == ([], [])
    assert refused(front.ask("GET", "/zones", front.token(("Cache Purge",), zone(ALPHA))))


def test_the_zone_list_leaves_out_what_is_excluded(front: Front) -> None:
    secret = front.token_of(
        policy(ALL_OF_A_ZONE, EVERY_ZONE), policy(ALL_OF_A_ZONE, zone("Closed.Example"), effect="deny")
    )
    answer = front.ask("GET", "/zones", secret)
    assert {found["name"] for found in answer.json()} == front.server.zones() - {CLOSED}
    assert front.ask("GET", f"/zones?zone={CLOSED}", secret).json() == []
    assert [found["id"] for found in front.ask("GET", f"/zones?zone={ALPHA}", secret).json()] == [ALPHA]


def test_a_zone_that_no_path_can_name_is_listed_to_tokens_on_all_zones_alone(front: Front) -> None:
    front.server.create(".")
    try:
        everything = front.token(("DNS Read",), EVERY_ZONE)
        assert "=2E" in {found["id"] for found in front.ask("GET", "/zones", everything).json()}
        assert refused(front.ask("GET", "/zones/=2E", everything), 404, 7003)
        named = front.token(("DNS Read",), zone(ALPHA), zone("2e"), zone("E"))
        assert {found["id"] for found in front.ask("GET", "/zones", named).json()} == {ALPHA}
    finally:
        front.server.ask("DELETE", "/zones/=2E").raise_for_status()


def test_a_zone_whose_id_is_written_with_an_escape_is_shown_to_its_own_tokens_and_no_other(front: Front) -> None:
    name = "_acme-challenge.escaped.example."
    front.server.create(name)
    try:
        assert front.server.ask("GET", f"/zones/{name}").json()["id"] == "=5Facme-challenge.escaped.example."
        own = front.token(("DNS Read",), zone(name))
        assert [found["name"] for found in front.ask("GET", "/zones", own).json()] == [name]
        assert front.ask("GET", "/search-data?q=*escaped*", own).json()
        assert front.ask("GET", f"/zones/{name}", own).status_code == 200
        others = front.token_of(policy(ALL_OF_A_ZONE, EVERY_ZONE), policy(ALL_OF_A_ZONE, zone(name), effect="deny"))
        assert name not in {found["name"] for found in front.ask("GET", "/zones", others).json()}
        assert front.ask("GET", "/search-data?q=*escaped*", others).json() == []
    finally:
        front.server.ask("DELETE", f"/zones/{name}").raise_for_status()


def test_a_search_finds_zones_records_and_comments_of_the_token_s_zones(front: Front) -> None:
    for name in (ALPHA, BETA, "sought.example."):
        if name not in front.server.zones():
            front.server.create(name)
        records = change(f"sought.{name}", "192.0.2.9")
        records["rrsets"][0]["comments"] = [{"content": "sought", "account": ""}]
        assert front.server.ask("PATCH", f"/zones/{name}", json=records).status_code == 204
    secret = front.token(("DNS Read",), zone(ALPHA), zone("sought.example"))
    found = front.ask("GET", "/search-data?q=*sought*&max=1000", secret).json()
    assert {(item["object_type"], item["zone_id"]) for item in found} == {
        ("zone", "sought.example."),
        ("record", "sought.example."),
        ("comment", "sought.example."),
        ("record", ALPHA),
        ("comment", ALPHA),
    }
    assert refused(front.ask("GET", "/search-data?q=*", front.token(("Zone Write",), EVERY_ZONE)))


# A zone that is not there yet.


@pytest.mark.parametrize(
    ("named", "wanted"),
    [
        pytest.param(zone("new1.example"), "new1.example.", id="named"),
        pytest.param(zone("NEW2.example."), "New2.Example.", id="named in capitals"),
        pytest.param(zone("0/26.2.0.192.in-addr.arpa"), "0/26.2.0.192.in-addr.arpa.", id="with a slash"),
        pytest.param(EVERY_ZONE, "new3.example.", id="all zones"),
    ],
)
def test_a_zone_is_created_with_zone_write_on_its_name(front: Front, named: str, wanted: str) -> None:
    secret = front.token(("Zone Write",), named)
    body = {"name": wanted, "kind": "Native", "nameservers": ["ns1.example.net."]}
    made = front.ask("POST", "/zones", secret, json=body)
    assert made.status_code == 201, made.text
    assert front.server.answers(wanted, "NS") == {"ns1.example.net."}
    assert front.ask("DELETE", made.json()["url"].removeprefix("/api/v1/servers/localhost"), secret).status_code == 204
    assert front.server.answers(wanted, "NS") == set()


SPELLINGS = [
    pytest.param("hidden.example.", id="its name"),
    pytest.param("HIDDEN.example.", id="capitals"),
    pytest.param("hidden.example", id="no final dot"),
    pytest.param("\\104idden.example.", id="an escaped letter"),
    pytest.param("hidden\\.example.", id="an escaped dot"),
    pytest.param("=68idden.example.", id="as in a path"),
    pytest.param("hidden.example.\0", id="a nought"),
    pytest.param("", id="empty"),
    pytest.param(".", id="the root"),
    pytest.param(None, id="null"),
    pytest.param(["hidden.example."], id="a list"),
]


@pytest.mark.parametrize("name", SPELLINGS)
def test_no_spelling_of_an_excluded_name_creates_its_zone(front: Front, name: Any) -> None:
    secret = front.token_of(
        policy(("Zone Write",), EVERY_ZONE), policy(("Zone Write",), zone("hidden.example"), effect="deny")
    )
    before = front.server.zones()
    answer = front.ask("POST", "/zones", secret, json={"name": name, "kind": "Native"})
    assert refused(answer), answer.text
    assert front.server.zones() == before


def test_no_other_right_creates_a_zone(front: Front) -> None:
    before = front.server.zones()
    for groups, key in ((("Zone Write",), zone(ALPHA)), (("DNS Write", "Zone Read"), EVERY_ZONE)):
        secret = front.token(groups, key)
        assert refused(front.ask("POST", "/zones", secret, json={"name": "hidden.example.", "kind": "Native"}))
    assert front.server.zones() == before


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('{"name": "new.example.", "name": "hidden.example."}', id="two names"),
        pytest.param('{"name": "new.example.", "Name": "hidden.example."}', id="another in capitals"),
        pytest.param('{"name": "new.example."', id="cut off"),
        pytest.param("name=new.example.", id="a form"),
        pytest.param("", id="nothing"),
    ],
)
def test_a_body_that_can_be_read_in_two_ways_creates_nothing(front: Front, body: str) -> None:
    secret = front.token(("Zone Write",), zone("new.example"))
    before = front.server.zones()
    answer = front.ask("POST", "/zones", secret, content=body)
    assert answer.json()["errors"][0]["code"] in (10400, 10000), answer.text
    assert front.server.zones() == before


# What else is done to a zone.


def test_a_notify_reaches_those_who_are_to_be_told(front: Front) -> None:
    secret = front.token(("DNS Write",), zone(BETA))
    with socket.socket(type=socket.SOCK_DGRAM) as secondary:
        secondary.bind(("127.0.0.1", 0))
        secondary.settimeout(20)
        place = "{}:{}".format(*secondary.getsockname())
        front.server.ask(
            "PUT", f"/zones/{BETA}/metadata/ALSO-NOTIFY", json={"kind": "ALSO-NOTIFY", "metadata": [place]}
        )
        assert front.ask("PUT", "/zones/beta.example/notify", secret).status_code == 200
        told = dns.message.from_wire(secondary.recv(4096))
    assert told.opcode() == dns.opcode.NOTIFY
    assert told.question[0].name.to_text() == BETA


def test_a_zone_is_exported_to_whoever_may_read_its_records(front: Front) -> None:
    secret = front.token(("DNS Read",), zone(BETA))
    answer = front.ask("GET", f"/zones/{BETA}/export", secret)
    assert answer.headers["content-type"].startswith("text/plain")
    assert "localhost." in answer.text


def test_a_zone_is_rectified_and_its_metadata_kept_with_zone_write(front: Front) -> None:
    secret = front.token(("Zone Write",), zone(BETA))
    assert front.ask("PUT", f"/zones/{BETA}/rectify", secret).json() == {"result": "Rectified"}
    kind = f"/zones/{BETA}/metadata/X-Zonegate"
    assert front.ask("PUT", kind, secret, json={"kind": "X-Zonegate", "metadata": ["1"]}).status_code == 200
    reader = front.token(("Zone Read",), zone(BETA))
    assert front.ask("GET", kind, reader).json()["metadata"] == ["1"]
    assert front.ask("DELETE", kind, secret).status_code == 200  # 4.7 says 200, later versions 204
    assert front.ask("GET", kind, reader).json()["metadata"] == []


def test_a_private_key_is_shown_to_its_own_group_alone(front: Front) -> None:
    keeper = front.token(("DNSSEC Keys Write",), zone(BETA))
    made = front.ask("POST", f"/zones/{BETA}/cryptokeys", keeper, json={"keytype": "csk", "active": True})
    assert made.status_code == 201
    one = f"/zones/{BETA}/cryptokeys/{made.json()['id']}"
    assert "PrivateKey" in front.ask("GET", one, keeper).json()["privatekey"]
    others = front.token(tuple(name for name in ALL_OF_A_ZONE if name != "DNSSEC Keys Write"), zone(BETA))
    assert refused(front.ask("GET", one, others))
    listed = front.ask("GET", f"/zones/{BETA}/cryptokeys", others)
    assert [key["id"] for key in listed.json()] == [made.json()["id"]]
    assert "PrivateKey" not in listed.text
    assert front.server.answers(BETA, "DNSKEY") != set()
    assert front.ask("PUT", one, others, json={"active": False}).status_code == 204
    assert front.ask("DELETE", one, others).status_code == 204
    assert front.server.answers(BETA, "DNSKEY") == set()


# The whole server.

SERVER_WIDE = [
    pytest.param("GET", "/config", "PowerDNS Server Write", id="config"),
    pytest.param("GET", "/statistics", "PowerDNS Server Read, PowerDNS Server Write", id="statistics"),
    pytest.param(
        "PUT", "/cache/flush?domain=alpha.example.", "PowerDNS Cache Purge, PowerDNS Server Write", id="flush"
    ),
    pytest.param("GET", "/autoprimaries", "PowerDNS Server Read, PowerDNS Server Write", id="autoprimaries"),
    pytest.param("POST", "/autoprimaries", "PowerDNS Server Write", id="a new autoprimary"),
    pytest.param("DELETE", "/autoprimaries/192.0.2.1/ns.example", "PowerDNS Server Write", id="an autoprimary's end"),
    pytest.param(
        "GET", "/tsigkeys", "PowerDNS Server Read, PowerDNS Server Write, PowerDNS TSIG Keys Write", id="TSIG keys"
    ),
    pytest.param("POST", "/tsigkeys", "PowerDNS TSIG Keys Write", id="a new TSIG key"),
    pytest.param("GET", "/tsigkeys/none.", "PowerDNS TSIG Keys Write", id="a TSIG key's secret"),
    pytest.param("GET", "/views", "PowerDNS Server Read, PowerDNS Server Write", id="views"),
    pytest.param("POST", "/views/inside", "PowerDNS Server Write", id="a zone into a view"),
    pytest.param("PUT", "/networks/192.0.2.0/24", "PowerDNS Server Write", id="a network"),
]


@pytest.mark.parametrize(("method", "path", "opens"), SERVER_WIDE)
def test_no_right_on_zones_opens_what_is_the_whole_server_s(front: Front, method: str, path: str, opens: str) -> None:
    secret = front.token((*ALL_OF_A_ZONE, "All Permissions"), EVERY_ZONE)
    before = front.server.requests()
    answer = front.ask(method, path, secret, json={})
    assert refused(answer)
    assert answer.headers["X-Accepted-Permissions"] == opens
    target = f"{method} /api/v1/servers/localhost{path}"
    assert front.server.requests().count(target) == before.count(target)


def test_the_server_is_opened_by_groups_on_the_token_s_user(front: Front) -> None:
    me = me_of(front)
    reader = front.token(("PowerDNS Server Read",), me, scope=USER_SCOPE)
    assert front.ask("GET", "/statistics?statistic=uptime", reader).json()[0]["name"] == "uptime"
    assert refused(front.ask("GET", "/config", reader))
    writer = front.token(("PowerDNS Server Write",), me, scope=USER_SCOPE)
    assert any(setting["name"] == "launch" for setting in front.ask("GET", "/config", writer).json())
    keeper = front.token(("PowerDNS TSIG Keys Write",), me, scope=USER_SCOPE)
    made = front.ask("POST", "/tsigkeys", keeper, json={"name": "transfer", "algorithm": "hmac-sha256"})
    assert made.status_code == 201
    one = f"/tsigkeys/{made.json()['id']}"
    assert front.ask("GET", one, keeper).json()["key"] == made.json()["key"] != ""
    assert refused(front.ask("GET", one, writer))
    assert {(key["id"], key["key"]) for key in front.ask("GET", "/tsigkeys", reader).json()} == {("transfer.", "")}
    purger = front.token(("PowerDNS Cache Purge",), me, scope=USER_SCOPE)
    assert front.ask("PUT", f"/cache/flush?domain={ALPHA}", purger).status_code == 200
    primary = {"ip": "192.0.2.1", "nameserver": "ns.example", "account": ""}
    assert front.ask("POST", "/autoprimaries", writer, json=primary).status_code == 201
    assert front.ask("GET", "/autoprimaries", reader).json() == [primary]
    assert front.ask("DELETE", "/autoprimaries/192.0.2.1/ns.example", writer).status_code == 204


def me_of(front: Front) -> str:
    """The resource that is the first owner."""
    verified = front.gateway.call("GET", "/user/tokens/verify").json()["result"]["id"]
    record = front.gateway.call("GET", f"/user/tokens/{verified}").json()["result"]
    (me,) = [key for found in record["policies"] for key in found["resources"] if key.startswith(user(""))]
    return str(me)


def test_neither_key_nor_token_is_in_the_log(front: Front) -> None:
    secret = front.token(("DNS Read",), zone(ALPHA))
    assert front.ask("GET", f"/zones/{ALPHA}", secret).status_code == 200
    log = front.gateway.log()
    for word in (KEY, secret, front.gateway.first, UPSTREAM_SECRET):
        assert word not in log
    assert json.loads(log.splitlines()[-1])
