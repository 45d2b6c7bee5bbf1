"""The store fails, in each way that it can: what clients, operators and the log are told, and that nothing has to be
restarted when the cause is gone.
"""

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from redis import Redis
from support.processes import NO_TLS, Upstream, free_port, until
from support.records import group_id, zone
from support.servers import HOST, ValkeyServer
from support.shared_store import SharingGateway

from gateway.demo.dataset import ZONES
from gateway.store import keys
from gateway.store.schema import STORE_SCHEMA

DEADLINE = 20.0
RECORDS = f"/zones/{ZONES['alpha.example']}/dns_records"
FIELDS = {
    "name": "used",
    "policies": [
        {
            "effect": "allow",
            "permission_groups": [{"id": group_id("DNS Write")}],
            "resources": {zone(ZONES["alpha.example"]): "*"},
        }
    ],
}
TELL = "redis.call('PUBLISH', ARGV[1], redis.call('INCR', KEYS[1]) .. ' ' .. ARGV[2])"
"""Says that something has changed, as each change does."""

Said = tuple[int, int | None]
"""Status, and the code of the error."""
ALLOWED: Said = (200, None)
UNKNOWN: Said = (401, 1000)
UNAVAILABLE: Said = (503, 10500)


class Token(NamedTuple):
    id: str
    secret: str


class Site:
    """A gateway, its store and the upstream behind it."""

    def __init__(self, directory: Path, **settings: object) -> None:
        self.data = directory / "valkey"
        self.server = ValkeyServer(
            self.data, appendonly="yes", appendfsync="always", enable_debug_command="yes", repl_diskless_sync_delay=0
        )
        self.upstream = Upstream(directory)
        self.gateway = SharingGateway(directory, self.upstream.url, self.server.url, **settings)

    @contextlib.contextmanager
    def running(self) -> Iterator["Site"]:
        try:
            with self.server:
                self.gateway.init()
                self.gateway.start()
                yield self
                self.gateway.stop()
        finally:
            self.gateway.stop()
            self.upstream.stop()

    @property
    def redis(self) -> Redis:
        return self.server.client()

    def token(self, *, used: bool, **fields: Any) -> Token:
        """A new token, known to the gateway if it was `used`."""
        made = self.gateway.create(**FIELDS, **fields)
        found = Token(made["id"], made["value"])
        if used:
            assert self.use(found) == ALLOWED
        return found

    def use(self, token: Token) -> Said:
        """What a request with `token` gets. A refused one does not reach the upstream."""
        seen = self.upstream.size()
        said = _said(self.gateway.call("GET", RECORDS, token.secret))
        assert (self.upstream.size() > seen) == (said == ALLOWED)
        return said

    def change(self, token: Token, **fields: Any) -> httpx.Response:
        """What the operator gets for a change of `token`."""
        return self.gateway.call("PUT", f"/user/tokens/{token.id}", json={**FIELDS, **fields})

    def readiness(self) -> dict[str, Any]:
        """What /readyz says, and its status in `code`."""
        answer = httpx.get(f"{self.gateway.admin_url}/readyz", timeout=DEADLINE, verify=NO_TLS)
        return {**answer.json(), "code": answer.status_code}

    def log(self, since: int = 0) -> list[dict[str, Any]]:
        """The events from the byte `since` on. There is no traceback, neither in a line nor between them."""
        with self.gateway.log_file.open("rb") as file:
            file.seek(since)
            text = file.read()
        assert b"Traceback" not in text, text.decode()
        return [json.loads(line) for line in text.splitlines()]

    def states(self, since: int) -> list[str]:
        """How the store came and went, as the log from `since` on tells it. (What comes "still" only adds a reason.)"""
        events = [str(event["event"]) for event in self.log(since)]
        return [event for event in events if event.startswith(("store lost", "store trusted"))]


def troubles(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What an operator should look at."""
    return [event for event in events if event["level"] in {"warning", "error"}]


def _said(answer: httpx.Response) -> Said:
    return answer.status_code, None if answer.is_success else answer.json()["errors"][0]["code"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site")).running() as found:
        yield found


# The ways to fail. Each begins, waits in the middle, and ends.

Cause = Callable[[Site, list[Token]], Iterator[None]]


@contextlib.contextmanager
def failing(site: Site, cause: Cause, *tokens: Token) -> Iterator[None]:
    """The store fails by `cause` from entry to exit, whatever the test has found."""
    steps = cause(site, list(tokens))
    next(steps)
    try:
        yield
    finally:
        next(steps, None)


def emptied(site: Site, _: list[Token]) -> Iterator[None]:
    """FLUSHALL; in the end all is there again."""
    client = site.server.client(decode_responses=False)
    kept = {name: client.dump(name) for name in client.keys("*")}
    client.flushall()
    yield
    for name, value in kept.items():
        client.restore(name, 0, value, replace=True)
    client.close()


def documents(change: Callable[[str], str]) -> Cause:
    """The tokens' documents are what `change` makes of them."""

    def cause(site: Site, tokens: list[Token]) -> Iterator[None]:
        names = {keys.token_key(token.id): token.id for token in tokens}
        kept = {name: str(site.redis.get(name)) for name in names}

        def put(stored: dict[str, str]) -> None:
            for name, document in stored.items():
                site.redis.set(name, document)
                site.redis.eval(TELL, 1, keys.SEQUENCE, keys.CHANGED, f"token:{names[name]}")

        put({name: change(document) for name, document in kept.items()})
        yield
        put(kept)

    return cause


def of_a_newer_layout(site: Site, _: list[Token]) -> Iterator[None]:
    site.redis.hset(keys.META, "schema", "99")
    yield
    site.redis.hset(keys.META, "schema", str(STORE_SCHEMA))


def disk_full(site: Site, _: list[Token]) -> Iterator[None]:
    """It saves, and cannot: a directory is where its file should be."""
    file = site.data / "dump.rdb"
    file.unlink(missing_ok=True)
    file.mkdir()
    site.redis.config_set("save", "3600 1")

    def saved(state: str) -> Callable[[], bool]:
        return lambda: site.redis.info("persistence")["rdb_last_bgsave_status"] == state  # type: ignore[index]

    site.redis.bgsave()
    until("it has failed to save", saved("err"))
    yield
    file.rmdir()
    site.redis.bgsave()
    until("it has saved", saved("ok"))
    site.redis.config_set("save", "")


def configured(name: str, value: object, normal: object) -> Cause:
    def cause(site: Site, _: list[Token]) -> Iterator[None]:
        site.redis.config_set(name, value)  # type: ignore[arg-type]
        yield
        site.redis.config_set(name, normal)  # type: ignore[arg-type]

    return cause


def replica(site: Site, _: list[Token]) -> Iterator[None]:
    site.redis.replicaof(HOST, free_port())
    yield
    site.redis.replicaof("NO", "ONE")


def loading(site: Site, _: list[Token]) -> Iterator[None]:
    """It loads its data, a millisecond for each key, unless it is told to go faster."""
    ballast = {f"ballast:{number}": "." * 50 for number in range(30_000)}
    site.redis.mset(ballast)
    site.redis.config_set("loading-process-events-interval-bytes", 1024)
    site.redis.config_set("key-load-delay", 1000)
    with contextlib.closing(site.server.client(socket_timeout=None)) as client:
        loader = threading.Thread(target=client.execute_command, args=("DEBUG", "RELOAD"))
        loader.start()
        yield
        site.redis.config_set("key-load-delay", 0)
        loader.join()
    site.redis.delete(*ballast)


def _throw_out(site: Site) -> None:
    """Close every connection but our own."""
    for kind in ("normal", "pubsub"):
        site.redis.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def password_changed(site: Site, _: list[Token]) -> Iterator[None]:
    site.redis.config_set("requirepass", "another")
    _throw_out(site)
    yield
    site.redis.config_set("requirepass", "")


def keys_forbidden(site: Site, _: list[Token]) -> Iterator[None]:
    site.redis.execute_command("ACL", "SETUSER", "default", "resetkeys", "~another:*")
    yield
    site.redis.execute_command("ACL", "SETUSER", "default", "allkeys")


def killed(site: Site, _: list[Token]) -> Iterator[None]:
    site.server.kill()
    yield
    site.server.start()


def stopped(site: Site, _: list[Token]) -> Iterator[None]:
    site.server.pause()
    yield
    site.server.resume()


def changes_waiting(site: Site, _: list[Token]) -> Iterator[None]:
    """It reads, and keeps whoever writes waiting."""
    site.redis.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
    yield
    site.redis.execute_command("CLIENT", "UNPAUSE")


class Row(NamedTuple):
    """What a token gets that was used before, what one that was not, and what a change of the first; whether /readyz
    says that it is ready; and what the log says.
    """

    cause: Cause
    known: Said
    unused: Said
    change: Said
    ready: bool
    log: str


def nobody(cause: Cause, log: str) -> Row:
    """Nothing works."""
    return Row(cause, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, ready=False, log=log)


def no_changes(cause: Cause, log: str) -> Row:
    """What is there can be read."""
    return Row(cause, ALLOWED, ALLOWED, UNAVAILABLE, ready=True, log=log)


def these_tokens(cause: Cause, log: str) -> Row:
    """The tokens that are hit do not work."""
    return Row(cause, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, ready=True, log=log)


TABLE = {
    "FLUSHALL": Row(emptied, UNKNOWN, UNKNOWN, UNKNOWN, ready=True, log="the store is empty"),
    "corrupt documents": these_tokens(documents(lambda _: "{"), "cannot be read"),
    "documents of other tokens": these_tokens(
        documents(lambda document: json.dumps({**json.loads(document), "id": "0" * 32})), "another id than its key"
    ),
    "documents of a newer version": these_tokens(
        documents(lambda document: json.dumps({**json.loads(document), "schema": 99})), "has schema 99"
    ),
    "a store of a newer version": nobody(of_a_newer_layout, "the store has schema 99"),
    "a full disk (MISCONF)": no_changes(disk_full, "(MISCONF)"),
    "no memory (OOM)": no_changes(configured("maxmemory", 1, 0), "(OOM)"),
    "a replica (READONLY)": nobody(replica, "(READONLY)"),
    "too few replicas (NOREPLICAS)": nobody(configured("min-replicas-to-write", 1, 0), "(NOREPLICAS)"),
    "it loads its data (LOADING)": nobody(loading, "(LOADING)"),
    "another password (NOAUTH)": nobody(password_changed, "(NOAUTH)"),
    "no right to our keys (NOPERM)": nobody(keys_forbidden, "(NOPERM)"),
    "it was killed": nobody(killed, "the store did not answer"),
    "it was stopped (SIGSTOP)": nobody(stopped, "the store did not answer"),
}


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in TABLE.items()])
def test_each_failure_is_told_fails_closed_and_ends_without_a_restart(site: Site, row: Row) -> None:
    known, unused, later = site.token(used=True), site.token(used=False), site.token(used=False)
    assert _said(site.change(known)) == ALLOWED
    assert site.use(known) == ALLOWED
    since = site.gateway.log_file.stat().st_size

    with failing(site, row.cause, known, unused):
        until("it is noticed", lambda: (site.use(known), site.readiness()["code"] == 200) == (row.known, row.ready))
        assert site.use(unused) == row.unused
        changed = site.change(known)
        assert _said(changed) == row.change
        assert "x-should-retry" not in changed.headers  # it did not happen
        said = site.readiness()
        assert (said["code"], bool(said["reasons"])) == ((200, False) if row.ready else (503, True))
        until("the log says why", lambda: row.log in str(troubles(site.log(since))))

    until("known tokens work again", lambda: site.use(known) == ALLOWED)
    until("so do the others", lambda: site.use(unused) == site.use(later) == ALLOWED)
    until("it can be changed", lambda: _said(site.change(known)) == ALLOWED)
    assert site.readiness() == {"status": "ok", "reasons": [], "notes": [], "code": 200}
    assert site.states(since) == ([] if row.ready else ["store lost", "store trusted"])


def test_a_change_that_nobody_can_say_was_made_is_not_to_be_repeated(site: Site) -> None:
    changed, known = site.token(used=True), site.token(used=True)
    since = site.gateway.log_file.stat().st_size
    with failing(site, changes_waiting):
        answer = site.change(changed, status="disabled")
        assert _said(answer) == UNAVAILABLE
        assert answer.headers["x-should-retry"] == "false"
        until("nothing is believed any more", lambda: site.use(known) == UNAVAILABLE)
    until("it is believed again", lambda: site.use(known) == ALLOWED)
    stored = json.loads(str(site.redis.get(keys.token_key(changed.id))))
    assert site.use(changed) == (ALLOWED if stored["status"] == "active" else UNKNOWN)
    assert "store unavailable" in [event["event"] for event in troubles(site.log(since))]


def test_what_a_restored_backup_says_is_obeyed(site: Site, tmp_path: Path) -> None:
    files = site.data / "appendonlydir"
    revoked = site.token(used=True)
    site.server.stop()
    shutil.copytree(files, tmp_path / "backup")
    site.server.start()
    until("it goes on", lambda: site.use(revoked) == ALLOWED)
    later = site.token(used=True)
    assert site.gateway.call("DELETE", f"/user/tokens/{revoked.id}").status_code == 200
    assert (site.use(later), site.use(revoked)) == (ALLOWED, UNKNOWN)
    since = site.gateway.log_file.stat().st_size
    site.server.stop()
    shutil.rmtree(files)
    shutil.copytree(tmp_path / "backup", files)
    site.server.start()
    until("it goes on", lambda: site.use(revoked) == ALLOWED)
    assert site.use(later) == UNKNOWN
    assert _said(site.change(revoked)) == ALLOWED
    assert site.states(since) == ["store lost", "store trusted"]


class Sample(NamedTuple):
    """What a request got, and how many seconds after the cut it began."""

    at: float
    said: Said


def cut(site: Site, token: Token, seconds: float) -> list[Sample]:
    """The server is stopped for so many seconds: what `token` gets meanwhile."""
    samples = []
    began = time.monotonic()
    with failing(site, stopped):
        while (at := time.monotonic() - began) < seconds:
            samples.append(Sample(at, site.use(token)))
    return samples


@pytest.mark.deep
def test_without_its_store_a_gateway_refuses_what_it_knows_after_3_seconds(site: Site) -> None:
    known = site.token(used=True)
    samples = cut(site, known, 6)
    assert {sample.said for sample in samples} == {ALLOWED, UNAVAILABLE}
    assert [sample for sample in samples if sample.at >= 3 and sample.said != UNAVAILABLE] == []
    until("it goes on", lambda: site.use(known) == ALLOWED)


GRACE = 5


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("lenient"), store__on_outage="serve-cached", store__stale_grace=GRACE)
    with site.running() as found:
        yield found


@pytest.mark.deep
def test_with_serve_cached_known_tokens_work_for_the_grace_and_not_after(lenient: Site) -> None:
    known = lenient.token(used=True)
    since = lenient.gateway.log_file.stat().st_size
    samples = cut(lenient, known, 3 + GRACE + 3)
    assert [sample for sample in samples if sample.at < GRACE and sample.said != ALLOWED] == []
    assert [sample for sample in samples if sample.at >= 3 + GRACE and sample.said != UNAVAILABLE] == []
    until("it goes on", lambda: lenient.use(known) == ALLOWED)
    assert lenient.states(since) == [
        "store lost",
        "store lost for too long: known tokens are refused too",
        "store trusted",
    ]


@pytest.mark.deep
def test_with_serve_cached_all_that_is_no_known_token_is_refused_and_limits_hold(lenient: Site) -> None:
    known, unused = lenient.token(used=True), lenient.token(used=False)
    elsewhere = lenient.token(used=False, condition={"request_ip": {"in": ["198.51.100.0/24"]}})
    assert lenient.use(elsewhere) == (403, 9109)
    ends = datetime.now(UTC) + timedelta(seconds=6)
    short = lenient.token(used=True, expires_on=ends.strftime("%Y-%m-%dT%H:%M:%SZ"))
    with failing(lenient, stopped):
        until("nothing is believed any more", lambda: lenient.readiness()["notes"])
        assert lenient.readiness()["code"] == 200
        assert (lenient.use(known), lenient.use(unused)) == (ALLOWED, UNAVAILABLE)
        assert lenient.use(elsewhere) == (403, 9109)
        assert _said(lenient.change(known)) == UNAVAILABLE
        until("it expires", lambda: lenient.use(short) == UNKNOWN)
        assert lenient.use(known) == ALLOWED
    until("it goes on", lambda: lenient.use(unused) == ALLOWED)


@pytest.mark.deep
def test_a_token_revoked_250_ms_before_the_cut_works_nowhere_even_with_serve_cached(lenient: Site) -> None:
    known = lenient.token(used=True)
    revoked = [lenient.token(used=True) for _ in range(6)]
    for number, token in enumerate(revoked):
        path = f"/user/tokens/{token.id}"
        if number % 2:
            assert lenient.gateway.call("DELETE", path).status_code == 200
        else:
            assert _said(lenient.change(token, status="disabled")) == ALLOWED
    time.sleep(0.25)
    with failing(lenient, stopped):
        assert lenient.use(known) == ALLOWED
        assert ALLOWED not in {lenient.use(token) for token in revoked}
        until("nothing is believed any more", lambda: lenient.readiness()["notes"])
        assert lenient.use(known) == ALLOWED
        assert ALLOWED not in {lenient.use(token) for token in revoked}
    until("it goes on", lambda: _said(lenient.change(known)) == ALLOWED)
    assert {lenient.use(token) for token in revoked} == {UNKNOWN}
