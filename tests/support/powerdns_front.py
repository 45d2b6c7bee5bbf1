"""A gateway in front of a real PowerDNS, its tokens, and its zones.

`closed.example.` is the zone that no token of a test opens: a path with its name in the server's log got through.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from gateway.tokens.resource import Scope
from support.powerdns import KEY, PowerDns
from support.processes import NO_TLS, Gateway
from support.records import ZONE, group_id

ALPHA, BETA, CLOSED = "alpha.example.", "beta.example.", "closed.example."
REVERSE = "0/25.2.0.192.in-addr.arpa."
EVERY_ZONE = f"{ZONE}.*"
ALL_OF_A_ZONE = ("DNS Read", "DNS Write", "Zone Read", "Zone Write", "DNSSEC Keys Write")


def policy(groups: tuple[str, ...], *keys: str, effect: str = "allow", scope: Scope = ZONE) -> dict[str, Any]:
    return {
        "effect": effect,
        "permission_groups": [{"id": group_id(name, scope)} for name in groups],
        "resources": dict.fromkeys(keys, "*"),
    }


class Front(NamedTuple):
    """The gateway, and the name server behind it."""

    gateway: Gateway
    server: PowerDns

    def token(self, groups: tuple[str, ...], *keys: str, scope: Scope = ZONE) -> str:
        """The secret of a token with these groups on these resources."""
        return self.token_of(policy(groups, *keys, scope=scope))

    def token_of(self, *policies: dict[str, Any]) -> str:
        secret: str = self.gateway.create(name="powerdns", policies=list(policies))["value"]
        return secret

    def ask(self, method: str, path: str, secret: str, **options: Any) -> httpx.Response:
        """The gateway's answer to a request below the server, the token shown as PowerDNS's clients do."""
        return self.raw(method, f"/v1/servers/localhost{path}", {"X-API-Key": secret}, **options)

    def raw(self, method: str, path: str, headers: Any, **options: Any) -> httpx.Response:
        url = f"http://127.0.0.1:{self.gateway.port}/api{path}"
        return httpx.request(method, url, headers=headers, timeout=20, verify=NO_TLS, **options)

    def nothing_reached(self, zone_name: str) -> bool:
        """Whether no request to the server named that zone in its path, in any spelling."""
        rest = zone_name.removesuffix(".")[1:]  # its first letter may be written as an escape
        return not any(rest in target.partition("?")[0].lower() for target in self.server.requests())


@contextlib.contextmanager
def fronted(directory: Path) -> Iterator[Front]:
    """Both run, with their files in `directory`."""
    server = PowerDns(directory / "pdns")
    gateway = Gateway(
        directory,
        "http://127.0.0.1:9",
        f"""
[upstreams.powerdns]
targets = ["{server.url}"]
base_path = "/api"
credential = {{ header = "X-API-Key", value = "{KEY}" }}
""",
    )
    try:
        for name in (ALPHA, BETA, CLOSED):
            server.create(name, kind="Primary")
        server.create(REVERSE)
        gateway.init()
        gateway.start()
        yield Front(gateway, server)
    finally:
        gateway.stop()
        gateway.tidy()
        server.stop()


def change(name: str, content: str, kind: str = "A") -> dict[str, Any]:
    """The body of a PATCH that sets one record."""
    records = [{"content": content, "disabled": False}]
    return {"rrsets": [{"name": name, "type": kind, "ttl": 60, "changetype": "REPLACE", "records": records}]}


def refused(answer: httpx.Response, status: int = 403, code: int = 10000) -> bool:
    """Whether it is the gateway's own refusal, in its envelope."""
    return (answer.status_code, answer.json()["errors"][0]["code"]) == (status, code)
