"""The least rights of each client: with the token that the page makes for it, it does what it does, and nothing else.

The requests are those that the clients' sources and documentation have (certbot-dns-cloudflare 5, lego 4.25,
external-dns with cloudflare-go 5, octodns-cloudflare 1.2, version 5 of Terraform's provider). octoDNS is run by the
page itself, certbot's client by test_zone_list.py.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from support.console import run, steps
from support.demo import Demo
from support.pages import CLIENTS, ROOT, pages_in, skipped

from gateway.demo.dataset import ACCOUNTS, RECORDS, ZONES

ALPHA, BETA = (f"/zones/{ZONES[name]}" for name in ("alpha.example", "beta.example"))
CHALLENGE = {"type": "TXT", "name": "_acme-challenge.alpha.example", "content": "token", "ttl": 120}
RECORD = {"type": "A", "name": "api.alpha.example", "content": "192.0.2.90", "ttl": 300}


class Ask(NamedTuple):
    """A request. MADE in its path is the id of the record that the one before it made."""

    method: str
    path: str
    body: Any = None


FIND_BY_NAME = [
    Ask("GET", "/zones?name=www.alpha.example&per_page=1"),
    Ask("GET", "/zones?name=alpha.example&per_page=50"),
]
SET_A_CHALLENGE = [
    Ask("POST", f"{ALPHA}/dns_records", CHALLENGE),
    Ask("GET", f"{ALPHA}/dns_records?type=TXT&name=_acme-challenge.alpha.example&per_page=1"),
    Ask("DELETE", f"{ALPHA}/dns_records/MADE"),
]
CHANGE_A_RECORD = [
    Ask("POST", f"{ALPHA}/dns_records", RECORD),
    Ask("GET", f"{ALPHA}/dns_records/MADE"),
    Ask("PUT", f"{ALPHA}/dns_records/MADE", RECORD | {"content": "192.0.2.91"}),
    Ask("PATCH", f"{ALPHA}/dns_records/MADE", {"content": "192.0.2.92"}),
    Ask("DELETE", f"{ALPHA}/dns_records/MADE"),
]
ASKED = {
    "certbot": FIND_BY_NAME + SET_A_CHALLENGE,
    "lego": FIND_BY_NAME + SET_A_CHALLENGE,
    "external-dns": [
        Ask("GET", "/zones"),
        Ask("GET", ALPHA),
        Ask("GET", f"{ALPHA}/dns_records?per_page=100"),
        Ask("POST", f"{ALPHA}/dns_records/batch", {"posts": [RECORD | {"name": "batch.alpha.example"}]}),
        *CHANGE_A_RECORD,
    ],
    "octodns": [
        Ask("GET", "/zones?page=1&per_page=50"),
        Ask("GET", f"{ALPHA}/dns_records?page=1&per_page=100"),
        *CHANGE_A_RECORD,
    ],
    "terraform": CHANGE_A_RECORD,
}
CLOSED = [
    Ask("GET", f"{BETA}/dns_records"),
    Ask("POST", f"{BETA}/dns_records", RECORD | {"name": "api.beta.example"}),
    Ask("DELETE", f"{BETA}/dns_records/{RECORDS['A www.beta.example']}"),
    Ask("DELETE", ALPHA),
    Ask("PATCH", ALPHA, {"paused": True}),
    Ask("POST", f"{ALPHA}/purge_cache", {"purge_everything": True}),
    Ask("POST", "/zones", {"name": "new.example", "account": {"id": ACCOUNTS["Alpha Ltd"]}}),
    Ask("GET", f"/accounts/{ACCOUNTS['Alpha Ltd']}"),
    Ask("GET", "/user"),
    Ask("GET", "/user/tokens"),
    Ask("POST", "/user/tokens", {"name": "another", "policies": []}),
    Ask("GET", f"{ALPHA}/pagerules"),
]


class Client(NamedTuple):
    """A client's token, and where it is used."""

    api: str
    secret: str

    def ask(self, ask: Ask, made: str = "") -> httpx.Response:
        return httpx.request(
            ask.method,
            f"{self.api}{ask.path.replace('MADE', made)}",
            json=ask.body,
            headers={"Authorization": f"Bearer {self.secret}"},
            timeout=20,
        )


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Client]]:
    """Each client of the page, with the token that the page's line made."""
    directory = tmp_path_factory.mktemp("clients")
    (page,) = pages_in(CLIENTS)
    with Demo(tmp_path_factory.mktemp("demo")) as demo:
        examples = steps((ROOT / page).read_text(), skipped(page))
        assert list(run(examples, directory, demo.exports)) == []
        yield {
            name: Client(demo.exports["API"], json.loads((directory / f"{name}.json").read_text())["value"])
            for name in ASKED
        }


@pytest.mark.parametrize("name", ASKED)
def test_a_client_can_do_what_it_does(clients: dict[str, Client], name: str) -> None:
    made = ""
    for ask in ASKED[name]:
        answer = clients[name].ask(ask, made)
        assert answer.status_code == 200, (ask, answer.text)
        if ask.method == "POST":
            made = answer.json()["result"].get("id", made)


@pytest.mark.parametrize("name", ASKED)
def test_a_client_finds_its_own_zone_alone(clients: dict[str, Client], name: str) -> None:
    answer = clients[name].ask(Ask("GET", "/zones"))
    if name == "terraform":  # it was told the zone's id
        assert answer.status_code == 403
    else:
        assert [zone["name"] for zone in answer.json()["result"]] == ["alpha.example"]


@pytest.mark.parametrize("name", ASKED)
def test_a_client_can_do_nothing_else(clients: dict[str, Client], name: str) -> None:
    answers = [(ask.method, ask.path, clients[name].ask(ask).status_code) for ask in CLOSED]
    assert [answer for answer in answers if answer[2] not in {403, 404}] == []
