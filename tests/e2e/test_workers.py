"""More than one worker: who answers, who dies, who takes whose place. The master alone: tests/unit/server."""

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import httpx
import pytest
from support.processes import NO_TLS, Gateway, Upstream, alive, clients_of, free_port, running, until
from support.records import secret_of

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")

SHIPPED = Path(__file__).parent.parent.parent / "policies"
NEW_PATH = f"/accounts/{'c' * 32}/billing/brand-new"
NEW_ROUTE = """
[[route]]
methods = ["POST"]
path = "/accounts/{account_id}/billing/brand-new"
permission = ["Billing Write"]
resource = "account:{account_id}"
"""


class Fleet:
    """A gateway with two workers, and policies of its own."""

    def __init__(self, gateway: Gateway, upstream: Upstream, policies: Path) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.policies = policies

    def signal(self, number: signal.Signals) -> None:
        assert self.gateway.process is not None
        self.gateway.process.send_signal(number)

    def reload(self) -> None:
        """SIGHUP; returns when other workers have taken the place of all."""
        old = set(self.gateway.workers())
        self.signal(signal.SIGHUP)
        until("new workers are there alone", lambda: len(new := set(self.gateway.workers())) == 2 and not new & old)

    def ask(self) -> int:
        """The status of a request on a connection of its own."""
        with contextlib.closing(self.connection()) as connection:
            return self.ask_on(connection)

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=20)

    def ask_on(self, connection: http.client.HTTPConnection) -> int:
        connection.request(
            "GET", "/client/v4/user/tokens/verify", headers={"Authorization": f"Bearer {self.gateway.first}"}
        )
        answer = connection.getresponse()
        answer.read()
        return answer.status

    def new_lines(self) -> Callable[[], str]:
        """A function that gives what has been logged since now."""
        size = len(self.gateway.log())
        return lambda: self.gateway.log()[size:]


class Load:
    """Clients that ask without a pause: four that keep their connection, four that make one for each request.

    `failed`: a client's port, and what it saw in the place of a 200.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(kept,)) for kept in [True, False] * 4]
        self.answered = 0
        self.failed: list[tuple[int, str]] = []

    def _run(self, kept: bool) -> None:  # noqa: FBT001 - one of two kinds
        connection = self._fleet.connection()
        while not self._stop.is_set():
            port = 0
            try:
                if connection.sock is None:
                    connection.connect()
                port = connection.sock.getsockname()[1]
                status = self._fleet.ask_on(connection)
                if status == 200:
                    self.answered += 1
                else:
                    self.failed.append((port, str(status)))
            except (OSError, http.client.HTTPException) as error:
                self.failed.append((port, repr(error)))
                connection.close()
            if not kept:
                connection.close()
        connection.close()

    def more(self, count: int = 200) -> None:
        """Return when so many more requests were answered."""
        wanted = self.answered + count
        until("more requests are answered", lambda: self.answered >= wanted)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.more()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Each test leaves it with two workers, and with its settings as they were."""
    directory = tmp_path_factory.mktemp("fleet")
    policies = directory / "policies"
    shutil.copytree(SHIPPED, policies)
    extra = f'[policies]\ndir = "{policies}"\n[limits]\nmax_body = 3000\n'
    with running(directory, extra, workers=2) as (gateway, upstream):
        yield Fleet(gateway, upstream, policies)


def test_each_worker_answers_when_the_other_does_not(fleet: Fleet) -> None:
    workers = fleet.gateway.workers()
    assert len(workers) == 2
    for stopped in workers:
        os.kill(stopped, signal.SIGSTOP)
        try:
            assert fleet.ask() == 200
        finally:
            os.kill(stopped, signal.SIGCONT)


def test_a_worker_that_is_killed_under_load_takes_its_own_clients_with_it_and_is_replaced(fleet: Fleet) -> None:
    first, second = fleet.gateway.workers()
    with Load(fleet) as load:
        os.kill(first, signal.SIGSTOP)  # or it would have other clients by the time it dies
        until("it has stopped", lambda: "\nState:\tT" in Path(f"/proc/{first}/status").read_text())
        its_own = clients_of(first, fleet.gateway.port)
        load.more()
        os.kill(first, signal.SIGKILL)
        until("it is replaced", lambda: len(set(fleet.gateway.workers()) - {first, second}) == 1)
        load.more()
    assert {port for port, _ in load.failed} <= its_own, load.failed
    assert second in fleet.gateway.workers()


def test_a_reload_that_fails_is_one_line_and_changes_nothing(fleet: Fleet) -> None:
    workers, logged = fleet.gateway.workers(), fleet.new_lines()
    assert {fleet.ask() for _ in range(100)} == {200}
    broken = fleet.policies / "apis" / "billing.toml"
    good = broken.read_text()
    broken.write_text(good + NEW_ROUTE + "unknown = 1\n")
    try:
        fleet.signal(signal.SIGHUP)
        until("it is logged", lambda: "not reloaded" in logged())
        assert {fleet.ask() for _ in range(100)} == {200}
        assert fleet.gateway.call("POST", NEW_PATH).status_code == 404
    finally:
        broken.write_text(good)
    (line,) = [line for line in logged().splitlines() if '"event":"request"' not in line]
    assert re.search(r"apis/billing\.toml: .*unknown", line)
    assert '"level":"error"' in line
    assert fleet.gateway.workers() == workers


def test_a_reload_is_in_force_afterwards_and_fails_no_request(fleet: Fleet) -> None:
    billing = fleet.policies / "apis" / "billing.toml"
    routes, settings = billing.read_text(), fleet.gateway.config.read_text()
    assert fleet.gateway.call("POST", NEW_PATH, content=b"x" * 2000).status_code == 404
    try:
        with Load(fleet) as load:
            billing.write_text(routes + NEW_ROUTE)
            fleet.reload()
            fleet.gateway.call("POST", NEW_PATH, content=b"x" * 2000)
            assert fleet.upstream.last_target().endswith(NEW_PATH)
            fleet.gateway.config.write_text(settings.replace("max_body = 3000", "max_body = 1000"))
            fleet.reload()
            assert fleet.gateway.call("POST", NEW_PATH, content=b"x" * 2000).status_code == 413
            load.more()
        assert load.failed == []
    finally:
        billing.write_text(routes)
        fleet.gateway.config.write_text(settings)
        fleet.reload()


def test_more_workers_are_a_reload_away(fleet: Fleet) -> None:
    settings = fleet.gateway.config.read_text()
    fleet.gateway.config.write_text(settings.replace("workers = 2", "workers = 3"))
    try:
        old = set(fleet.gateway.workers())
        fleet.signal(signal.SIGHUP)
        until("there are three", lambda: len(new := set(fleet.gateway.workers())) == 3 and not new & old)
    finally:
        fleet.gateway.config.write_text(settings)
        fleet.reload()


def test_what_only_a_restart_can_change_stays_and_is_named(fleet: Fleet) -> None:
    settings, logged = fleet.gateway.config.read_text(), fleet.new_lines()
    fleet.gateway.config.write_text(settings.replace(f"port = {fleet.gateway.port}", f"port = {free_port()}"))
    try:
        fleet.reload()
        assert fleet.ask() == 200
    finally:
        fleet.gateway.config.write_text(settings)
    (line,) = [line for line in logged().splitlines() if "only a restart" in line]
    assert '"listen.port"' in line
    assert '"level":"warning"' in line


@pytest.mark.deep
def test_a_worker_that_was_stopped_is_replaced(fleet: Fleet) -> None:
    first, second = fleet.gateway.workers()
    os.kill(first, signal.SIGSTOP)
    until("it is replaced", lambda: len(set(fleet.gateway.workers()) - {first}) == 2, deadline=30)
    assert not alive(first)
    assert second in fleet.gateway.workers()
    assert fleet.ask() == 200


# The end.


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda pid: os.kill(pid, signal.SIGTERM), id="SIGTERM"),
        pytest.param(lambda pid: os.killpg(pid, signal.SIGINT), id="a Ctrl-C, which all of them hear"),
    ],
)
def test_told_to_end_all_of_it_ends_and_its_port_is_free(tmp_path: Path, end: Callable[[int], None]) -> None:
    with running(tmp_path, workers=2) as (gateway, _):
        assert gateway.process is not None
        processes = [*gateway.workers(), gateway.store_pid()]
        end(gateway.process.pid)
        assert gateway.process.wait(20) == 0
        assert not any(alive(pid) for pid in processes)
        socket.create_server(("127.0.0.1", gateway.port)).close()
        assert "Traceback" not in gateway.log()
        assert '"level":"error"' not in gateway.log()


def test_nobody_outlives_a_master_that_was_killed(tmp_path: Path) -> None:
    with running(tmp_path, workers=2) as (gateway, _):
        processes = [*gateway.workers(), gateway.store_pid()]
        gateway.kill()
        until("all have ended", lambda: not any(alive(pid) for pid in processes))
        gateway.start()
        assert gateway.call("GET", "/user/tokens/verify").status_code == 200


# The beginning.


def test_without_its_store_it_starts_and_says_that_it_is_not_ready(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, "http://127.0.0.1:9", workers=2)
    url = f'url = "redis://127.0.0.1:{free_port()}/0"'
    gateway.config.write_text(gateway.config.read_text().replace("[store]", f"[store]\n{url}"))
    gateway.launch()
    try:
        assert until("it answers", lambda: probe(gateway, "/healthz")) == 200
        assert probe(gateway, "/readyz") == 503
        answer = gateway.call("GET", "/user/tokens/verify", secret_of().reveal())
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (503, 10500)
    finally:
        assert gateway.stop() == 0
    assert "Traceback" not in gateway.log()


def probe(gateway: Gateway, path: str) -> int:
    """The status, or 0 as long as nobody listens."""
    try:
        return httpx.get(gateway.admin_url + path, verify=NO_TLS).status_code
    except httpx.HTTPError:
        return 0
