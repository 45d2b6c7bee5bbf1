"""What is still being relayed ends when its token does."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from support.processes import Gateway, RawUpstream, until
from support.records import USER_SCOPE, group_id, zone

from gateway.demo.dataset import ZONES
from gateway.tokens.owner import OwnerKind
from gateway.tokens.secret import make_secret
from gateway.tokens.timestamp import format_timestamp

ZONE = ZONES["alpha.example"]
BODY = {
    "name": "stream",
    "policies": [
        {"effect": "allow", "permission_groups": [{"id": group_id("DNS Read")}], "resources": {zone(ZONE): "*"}}
    ],
}
OTHER = {"name": "stream", "policies": [{**BODY["policies"][0], "resources": {zone("f" * 32): "*"}}]}  # type: ignore[dict-item]


EVENT = b"data: 1\n\n"


def _events(sock: socket.socket) -> None:
    """An event, and more of them until the gateway leaves."""
    sock.recv(65536)
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    sock.settimeout(0.1)
    while True:
        sock.sendall(b"9\r\n" + EVENT + b"\r\n")
        with contextlib.suppress(TimeoutError):
            if not sock.recv(65536):
                return


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    upstream = RawUpstream(_events)
    directory = tmp_path_factory.mktemp("streams")
    gateway = Gateway(directory, upstream.url)
    try:
        gateway.prepare()
        gateway.start()
        yield gateway
    finally:
        gateway.stop()
        gateway.tidy()
        upstream.stop()


@contextlib.contextmanager
def stream(gateway: Gateway, secret: str) -> Iterator[Iterator[bytes]]:
    """An event stream whose first event has come."""
    headers = {"Authorization": f"Bearer {secret}"}
    with (
        httpx.Client(timeout=10) as client,
        client.stream("GET", f"{gateway.url}/zones/{ZONE}/dns_records", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        events = answer.iter_raw()
        assert next(events) == EVENT
        yield events


def cut(events: Iterator[bytes]) -> bool:
    """Whether the stream breaks off; it does not end as if it were whole."""
    with contextlib.suppress(httpx.ReadError, httpx.RemoteProtocolError):
        for number, _ in enumerate(events):
            assert number < 100, "it goes on"
        return False
    return True


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda gateway, path: gateway.call("DELETE", path), id="deleted"),
        pytest.param(lambda gateway, path: gateway.call("PUT", f"{path}/value", json={}), id="rolled"),
        pytest.param(
            lambda gateway, path: gateway.call("PUT", path, json={**BODY, "status": "disabled"}), id="disabled"
        ),
        pytest.param(lambda gateway, path: gateway.call("PUT", path, json=OTHER), id="narrowed"),
        pytest.param(
            lambda gateway, path: gateway.call(
                "PUT", path, json={**BODY, "condition": {"request_ip": {"not_in": ["127.0.0.0/8"]}}}
            ),
            id="not from here any more",
        ),
        pytest.param(
            lambda gateway, path: gateway.call(
                "PUT", path, json={**BODY, "expires_on": format_timestamp(int(time.time()) + 2)}
            ),
            id="expired",
        ),
    ],
)
def test_an_event_stream_is_cut_when_its_token_is(
    gateway: Gateway, end: Callable[[Gateway, str], httpx.Response]
) -> None:
    token = gateway.create(**BODY)
    with stream(gateway, token["value"]) as events:
        assert end(gateway, f"/user/tokens/{token['id']}").status_code == 200
        assert cut(events)


def test_an_event_stream_goes_on_when_another_token_dies_or_its_own_is_given_another_name(gateway: Gateway) -> None:
    dead, living = gateway.create(**BODY), gateway.create(**BODY)
    with stream(gateway, living["value"]) as events:
        assert gateway.call("DELETE", f"/user/tokens/{dead['id']}").status_code == 200
        assert gateway.call("PUT", f"/user/tokens/{living['id']}", json={**BODY, "name": "new"}).status_code == 200
        assert b"".join(next(events) for _ in range(20)).startswith(EVENT * 20)


def test_a_freeze_cuts_event_streams_and_refuses_every_token_until_the_thaw(gateway: Gateway) -> None:
    token = gateway.create(**BODY)
    path = f"/zones/{ZONE}/dns_records"
    with stream(gateway, token["value"]) as events:
        assert gateway.command("freeze", "--config", str(gateway.config)).returncode == 0
        try:
            assert cut(events)
            refused = gateway.call("GET", path, token["value"])
            assert (refused.status_code, refused.json()["errors"][0]["code"]) == (503, 10500)
            assert "frozen" in refused.text
            assert httpx.get(f"{gateway.admin_url}/readyz").json()["notes"]
        finally:
            assert gateway.command("thaw", "--config", str(gateway.config)).returncode == 0
    with stream(gateway, token["value"]):
        pass


def test_a_call_whose_body_comes_after_its_token_has_died_does_nothing(gateway: Gateway) -> None:
    policies = [
        {
            "effect": "allow",
            "permission_groups": [{"id": group_id("API Tokens Write", USER_SCOPE)}],
            "resources": {f"{USER_SCOPE}.{gateway.create(**BODY)['owner']['id']}": "*"},
        }
    ]
    token = gateway.create(name="maker", policies=policies)
    body = json.dumps({**BODY, "name": "made too late"}).encode()
    head = (
        f"POST /client/v4/user/tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token['value']}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as sock:
        sock.sendall(head.encode() + body[:10])
        assert gateway.call("GET", "/user/tokens/verify", token["value"]).status_code == 200
        assert gateway.call("DELETE", f"/user/tokens/{token['id']}").status_code == 200
        sock.sendall(body[10:])
        answer = sock.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 401 ")
    names = [each["name"] for each in gateway.call("GET", "/user/tokens?per_page=50").json()["result"]]
    assert "made too late" not in names


def test_an_event_stream_is_cut_while_its_client_guesses_ids(gateway: Gateway) -> None:
    token = gateway.create(**BODY)
    stop = threading.Event()

    def guess() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            secret = make_secret(OwnerKind.USER, f"{number:032x}", bytes(32)).reveal()
            gateway.call("GET", "/user/tokens/verify", secret)

    guessing = threading.Thread(target=guess)
    with stream(gateway, token["value"]) as events:
        guessing.start()
        try:
            until("the client is limited", lambda: "429" in gateway.log())
            assert gateway.call("DELETE", f"/user/tokens/{token['id']}").status_code == 200
            assert cut(events)
        finally:
            stop.set()
            guessing.join()
