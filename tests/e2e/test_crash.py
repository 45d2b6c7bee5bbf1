"""What a crash may lose: nothing that was acknowledged."""

import contextlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import httpx
import pytest
from support.processes import Gateway, Upstream, alive, running, until
from support.records import group_id, zone

BODY = {
    "name": "created under way",
    "policies": [
        {"effect": "allow", "permission_groups": [{"id": group_id("DNS Write")}], "resources": {zone("a" * 32): "*"}}
    ],
}


def crash_during_creations(gateway: Gateway, after: int) -> tuple[list[str], int]:
    """Two clients create up to 200 tokens; SIGKILL to gateway and store after `after` of them.

    Returns the acknowledged secrets and the number of requests that got no answer.
    """
    reached, stop = Event(), Event()
    acknowledged: list[str] = []

    def create() -> int:
        with httpx.Client(timeout=20) as client:
            for _ in range(100):
                if stop.is_set():
                    return 0
                try:
                    answer = client.post(
                        f"{gateway.url}/user/tokens", json=BODY, headers={"Authorization": f"Bearer {gateway.first}"}
                    )
                except httpx.HTTPError:
                    return 1
                if answer.status_code == 200:
                    acknowledged.append(answer.json()["result"]["value"])
                if len(acknowledged) >= after:
                    reached.set()
        return 0

    with ThreadPoolExecutor(2) as pool:
        clients = [pool.submit(create) for _ in range(2)]
        assert reached.wait(60)
        store = gateway.store_pid()
        with contextlib.suppress(ProcessLookupError):
            os.kill(store, signal.SIGKILL)
        gateway.kill()
        unanswered = sum(client.result(60) for client in clients)
        stop.set()
    return acknowledged, unanswered


def check_nothing_is_lost(directory: Path, rounds: list[int]) -> None:
    with running(directory) as (gateway, _):
        kept: list[str] = []
        lost_at_most = 0
        for after in rounds:
            acknowledged, unanswered = crash_during_creations(gateway, after)
            kept += acknowledged
            lost_at_most += unanswered
            gateway.start()
            for secret in acknowledged:
                assert gateway.call("GET", "/user/tokens/verify", secret).status_code == 200
        listed = gateway.call("GET", "/user/tokens?per_page=5").json()["result_info"]["total_count"] - 1
        assert len(kept) <= listed <= len(kept) + lost_at_most
        done = gateway.command(
            *("token", "list", "--json"), env={"ZONEGATE_URL": gateway.url, "ZONEGATE_TOKEN": gateway.first}
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count('"created under way"') == listed


def test_every_acknowledged_token_survives_kill_9(tmp_path: Path) -> None:
    check_nothing_is_lost(tmp_path, [60])


@pytest.mark.deep
def test_every_acknowledged_token_survives_many_crashes(tmp_path: Path) -> None:
    check_nothing_is_lost(tmp_path, [3, 30, 77, 120, 10, 150, 1, 60])


def test_the_embedded_server_is_gone_within_two_seconds_of_its_parent(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path)
    gateway = Gateway(tmp_path, upstream.url)
    try:
        gateway.prepare()
        gateway.start()
        store = gateway.store_pid()
        assert alive(store)
        gateway.kill()
        until("the embedded server is gone", lambda: not alive(store), deadline=2)
    finally:
        upstream.stop()
