"""A real PowerDNS Authoritative Server: Debian's `pdns_server` on loopback ports, its zones in an SQLite file.

What it holds is asked over its HTTP API, with its key, and over DNS; what reached it stands in its log.
"""

import contextlib
import re
import secrets
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rcode
import httpx

from support.processes import NO_TLS, free_port, until

KEY = secrets.token_hex(16)
SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
_REQUEST = re.compile(r'\[webserver\] .*"([A-Z]+ \S+) HTTP/1\.[01]" ([0-9]{3})')


def _program() -> str:
    found = shutil.which("pdns_server", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    assert found is not None, "pdns_server is not here: apt-get install pdns-server pdns-backend-sqlite3"
    assert SCHEMA.exists(), f"{SCHEMA} is not here: apt-get install pdns-backend-sqlite3"
    return found


class PowerDns:
    """A running name server without zones. Its files are in `directory`."""

    def __init__(self, directory: Path) -> None:
        program = _program()
        directory.mkdir()
        self.port, self.dns_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log_file = directory / "log"
        with contextlib.closing(sqlite3.connect(directory / "zones")) as database:
            database.executescript(SCHEMA.read_text())
        # Nothing is remembered, so that a change shows in the next answer; `primary` is what `notify` asks for.
        (directory / "pdns.conf").write_text(
            f"""
launch=gsqlite3
gsqlite3-database={directory / "zones"}
gsqlite3-dnssec=yes
socket-dir={directory}
local-address=127.0.0.1
local-port={self.dns_port}
webserver=yes
webserver-address=127.0.0.1
webserver-port={self.port}
webserver-loglevel=normal
api=yes
api-key={KEY}
primary=yes
only-notify=127.0.0.0/8
security-poll-suffix=
loglevel=5
cache-ttl=0
negquery-cache-ttl=0
query-cache-ttl=0
zone-cache-refresh-interval=0
"""
        )
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [program, f"--config-dir={directory}", "--daemon=no", "--guardian=no"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            until("PowerDNS answers", self._is_ready)
        except BaseException:
            self.stop()
            raise

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._log_file.read_text()
        with contextlib.suppress(httpx.HTTPError):
            return self.ask("GET", "").status_code == httpx.codes.OK
        return False

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer of its API itself to a request for `path` below the server, its key shown."""
        headers = {"X-API-Key": KEY}
        url = f"{self.url}/api/v1/servers/localhost{path}"
        return httpx.request(method, url, headers=headers, timeout=20, verify=NO_TLS, **options)

    def create(self, zone: str, **fields: Any) -> None:
        """The zone is there; a native one with one name server unless `fields` say otherwise."""
        body = {"name": zone, "kind": "Native", "nameservers": ["localhost."], **fields}
        made = self.ask("POST", "/zones", json=body)
        assert made.status_code == httpx.codes.CREATED, made.text

    def zones(self) -> set[str]:
        """Names of all zones."""
        return {zone["name"] for zone in self.ask("GET", "/zones").json()}

    def answers(self, name: str, kind: str) -> set[str]:
        """What a DNS query for `name` is answered with: the texts of the records of that type."""
        query = dns.message.make_query(name, kind)
        answer = dns.query.udp(query, "127.0.0.1", port=self.dns_port, timeout=20)
        assert answer.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN, dns.rcode.REFUSED), answer
        return {item.to_text() for records in answer.answer for item in records}

    def requests(self) -> list[str]:
        """Method and target of each request that reached its API, ours with its key among them, the oldest first."""
        return [found[1] for found in map(_REQUEST.search, self._log_file.read_text().splitlines()) if found]

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(20)
