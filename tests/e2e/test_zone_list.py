"""The zone list as clients see it that know of one zone among hundreds: Cloudflare's own SDK, and certbot's plugin."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from cloudflare import Cloudflare
from support.processes import UPSTREAM_SECRET, Gateway, Upstream, running
from support.records import ZONE, group_id, zone

from gateway.demo.dataset import ZONES

EVERY_ZONE = f"{ZONE}.*"
HOSTED = 500


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Upstream]]:
    """A gateway in front of an upstream with 500 zones."""
    with running(tmp_path_factory.mktemp("zones"), more_zones=HOSTED - len(ZONES)) as found:
        yield found


@pytest.fixture(scope="module")
def zones(programs: tuple[Gateway, Upstream]) -> list[tuple[str, str]]:
    """Id and name of each zone, in the order of the upstream's own list."""
    with Cloudflare(api_token=UPSTREAM_SECRET, base_url=f"{programs[1].url}/client/v4") as asked:
        found = [(hosted.id, hosted.name) for hosted in asked.zones.list()]
    assert len(found) == HOSTED
    return found


def policy(groups: list[str], *keys: str, effect: str = "allow") -> dict[str, Any]:
    return {
        "effect": effect,
        "permission_groups": [{"id": group_id(name)} for name in groups],
        "resources": dict.fromkeys(keys, "*"),
    }


def client(gateway: Gateway, *policies: dict[str, Any]) -> Cloudflare:
    """The SDK, with a token of these policies."""
    secret = gateway.create(name="zones", policies=list(policies))["value"]
    return Cloudflare(api_token=secret, base_url=gateway.url, max_retries=0)


def test_a_token_on_the_four_hundredth_zone_lists_that_one(gateway: Gateway, zones: list[tuple[str, str]]) -> None:
    own, name = zones[399]
    with client(gateway, policy(["Zone Read"], zone(own))) as asked:
        assert [found.id for found in asked.zones.list()] == [own]
        assert [found.id for found in asked.zones.list(name=name)] == [own]
        page = asked.zones.list()
        assert page.result_info is not None
        assert (page.result_info.page, page.result_info.to_dict()["total_count"]) == (1, 1)


def test_asking_for_a_zone_by_name_is_one_question_to_the_upstream(
    gateway: Gateway, upstream: Upstream, zones: list[tuple[str, str]]
) -> None:
    with client(gateway, policy(["Zone Read"], zone(zones[399][0]))) as asked:
        before = len(upstream.journal())
        assert list(asked.zones.list(name=zones[7][1])) == []
        assert list(asked.zones.list(name="nowhere.example")) == []
        assert len(upstream.journal()) == before + 2


@pytest.mark.parametrize("per_page", [None, 7, 50])
def test_a_token_on_all_but_three_lists_each_of_the_others_once(
    gateway: Gateway, zones: list[tuple[str, str]], per_page: int | None
) -> None:
    closed = [zones[0], zones[249], zones[499]]
    policies = (
        policy(["Zone Read"], EVERY_ZONE),
        policy(["Zone Read"], *(zone(zone_id) for zone_id, _ in closed), effect="deny"),
    )
    options: dict[str, Any] = {} if per_page is None else {"per_page": per_page}
    with client(gateway, *policies) as asked:
        assert [(found.id, found.name) for found in asked.zones.list(**options)] == [
            hosted for hosted in zones if hosted not in closed
        ]
        for zone_id, name in closed:
            assert [found.id for found in asked.zones.list(name=name)] == [], zone_id
        page = asked.zones.list(per_page=50)
        assert page.result_info is not None
        assert len(page.result) == 50
        assert page.result_info.to_dict()["total_count"] == HOSTED - len(closed)


CERTBOT = """
import os, sys
from certbot_dns_cloudflare._internal.dns_cloudflare import _CloudflareClient

action, domain = sys.argv[1:]
client = _CloudflareClient(api_token=os.environ["TOKEN"])
if action == "add":
    client.add_txt_record(domain, f"_acme-challenge.{domain}", "token", 120)
else:
    client.del_txt_record(domain, f"_acme-challenge.{domain}", "token")
"""


def certbot(gateway: Gateway, secret: str, action: str, domain: str) -> "subprocess.CompletedProcess[str]":
    """One call of the plugin's client: all that it is told is another base URL."""
    return subprocess.run(
        [sys.executable, "-c", CERTBOT, action, domain],
        env={**os.environ, "CLOUDFLARE_BASE_URL": gateway.url, "TOKEN": secret},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def challenges(gateway: Gateway, zone_id: str) -> list[str]:
    """Names of the TXT records for a challenge."""
    records = gateway.call("GET", f"/zones/{zone_id}/dns_records?type=TXT").json()["result"]
    return [record["name"] for record in records if record["name"].startswith("_acme-challenge")]


def test_certbot_sets_and_removes_its_record(gateway: Gateway) -> None:
    own = ZONES["alpha.example"]
    secret = gateway.create(name="certbot", policies=[policy(["DNS Write", "Zone Read"], zone(own))])["value"]
    made = certbot(gateway, secret, "add", "www.alpha.example")
    assert made.returncode == 0, made.stderr
    assert challenges(gateway, own) == ["_acme-challenge.www.alpha.example"]
    gone = certbot(gateway, secret, "remove", "www.alpha.example")
    assert gone.returncode == 0, gone.stderr
    assert challenges(gateway, own) == []


def test_certbot_finds_no_zone_that_its_token_may_not_read(gateway: Gateway, upstream: Upstream) -> None:
    own, other = ZONES["alpha.example"], ZONES["beta.example"]
    secret = gateway.create(name="certbot", policies=[policy(["DNS Write", "Zone Read"], zone(own))])["value"]
    done = certbot(gateway, secret, "add", "www.beta.example")
    assert done.returncode != 0
    assert "Unable to determine zone_id" in done.stderr
    assert secret not in done.stderr
    assert all(entry["method"] == "GET" for entry in upstream.journal() if other in entry["target"])
    assert challenges(gateway, other) == []
