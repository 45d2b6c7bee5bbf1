"""An operator's webhook hears of rolled, leaked and ending tokens from a running gateway."""

import json
import queue
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.processes import Gateway, running
from support.records import ZONE_A, group_id, zone

DNS = [{"effect": "allow", "permission_groups": [{"id": group_id("DNS Write")}], "resources": {zone(ZONE_A): "*"}}]
Heard = queue.Queue[tuple[str, dict[str, Any]]]


@pytest.fixture
def heard() -> Heard:
    return queue.Queue()


@pytest.fixture
def receiver(heard: Heard) -> Iterator[int]:
    """The port of who is told."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            heard.put((body + str(self.headers), json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def next_of(heard: Heard, *secrets: str) -> tuple[str, str]:
    """Event and name of the next news, which hold no secret."""
    text, news = heard.get(timeout=20)
    assert not any(secret in text for secret in secrets)
    return news["event"], news["token"]["name"]


def restart(gateway: Gateway) -> None:
    gateway.stop()
    gateway.start()


def test_a_webhook_is_told_of_rolled_leaked_and_ending_tokens_and_of_no_secret(
    tmp_path: Path, receiver: int, heard: Heard
) -> None:
    extra = f'[notify]\nwebhook = "http://127.0.0.1:{receiver}/hook"\n'
    with running(tmp_path, extra, workers=2) as (gateway, _):
        made = gateway.create(name="deploy", policies=DNS)
        rolled = gateway.call("PUT", f"/user/tokens/{made['id']}/value", json={}).json()["result"]
        assert next_of(heard, made["value"], rolled) == ("token.rolled", "deploy")
        leaked = gateway.call("POST", "/user/tokens/leaked", rolled, json={"secrets": [rolled]})
        assert leaked.json()["result"] == [{"id": made["id"], "outcome": "disabled"}]
        assert next_of(heard, made["value"], rolled) == ("token.leaked", "deploy")
        tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        gateway.create(name="soon", policies=DNS, expires_on=tomorrow)
        restart(gateway)  # a worker looks at once when it begins
        assert next_of(heard) == ("token.ending", "soon")
        restart(gateway)
        gateway.call("PUT", f"/user/tokens/{made['id']}/value", json={})
        assert next_of(heard) == ("token.rolled", "deploy")  # and not once more of the one that ends
