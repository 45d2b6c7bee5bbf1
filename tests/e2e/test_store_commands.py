"""The commands that open the store themselves, beside a gateway that uses it."""

import json
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from support.processes import ZONEGATE, Gateway, RawUpstream, running, until
from support.records import group_id, zone

from gateway.demo.dataset import ZONES
from gateway.store import keys

_ZONE = ZONES["alpha.example"]
_POLICIES = [{"effect": "allow", "permission_groups": [{"id": group_id("DNS Read")}], "resources": {zone(_ZONE): "*"}}]
_RECORDS = f"/zones/{_ZONE}/dns_records"


@pytest.fixture
def secret(gateway: Gateway) -> str:
    """Of a token that may read a zone, and has been used."""
    made: str = gateway.create(name="reader", policies=_POLICIES)["value"]
    assert gateway.call("GET", _RECORDS, made).status_code == 200
    return made


@pytest.fixture
def redis(gateway: Gateway) -> Iterator[Redis]:
    """What the gateway's store holds."""
    with Redis(unix_socket_path=_socket(gateway)) as client:
        yield client


def _socket(gateway: Gateway) -> str:
    found: str = json.loads((gateway.directory / "store" / "server.json").read_text())["socket"]
    return found


def zonegate(gateway: Gateway, *arguments: str, code: int = 0, **options: Any) -> str:
    """What a command prints that ends with `code`."""
    done = gateway.command("--config", str(gateway.config), *arguments, **options)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout


def status(gateway: Gateway, secret: str, path: str = _RECORDS) -> int:
    return gateway.call("GET", path, secret).status_code


def test_a_freeze_stops_every_token_until_the_thaw(gateway: Gateway, secret: str) -> None:
    zonegate(gateway, "freeze")
    try:
        until("the token is refused", lambda: status(gateway, secret) == 503)
        refused = gateway.call("GET", "/user/tokens")
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (503, 10500)
        zonegate(gateway, "freeze")
        assert status(gateway, secret) == 503
    finally:
        zonegate(gateway, "thaw")
    until("the token works again", lambda: status(gateway, secret) == 200)
    assert status(gateway, gateway.first, "/user/tokens") == 200


def test_a_freeze_outlives_the_gateway(tmp_path: Path) -> None:
    with running(tmp_path) as (gateway, _):
        secret = gateway.create(name="reader", policies=_POLICIES)["value"]
        zonegate(gateway, "freeze")
        gateway.stop()
        gateway.start()
        until("the token is refused", lambda: status(gateway, secret) == 503)
        zonegate(gateway, "thaw")
        until("the token works again", lambda: status(gateway, secret) == 200)


def test_what_was_exported_beside_a_gateway_works_behind_another(gateway: Gateway, secret: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    zonegate(gateway, "store", "export", str(copy))
    assert secret not in copy.read_text()
    with running(tmp_path) as (other, _):
        assert status(other, secret) == 401
        printed = zonegate(other, "store", "import", str(copy))
        assert " is in the store." in printed
        until("the token works there", lambda: status(other, secret) == 200)
        # Its own first owner is there still, beside the other's.
        assert status(other, other.first, "/user/tokens") == 200
        assert status(other, gateway.first, "/user/tokens") == 200
        assert zonegate(other, "store", "check").startswith("The store is consistent: ")


def test_an_import_that_overwrites_is_obeyed_as_any_change(gateway: Gateway, tmp_path: Path) -> None:
    token = gateway.create(name="reader", policies=_POLICIES)
    path = f"/user/tokens/{token['id']}"
    disabled = gateway.call("PUT", path, json={"name": "reader", "policies": _POLICIES, "status": "disabled"})
    assert disabled.status_code == 200
    copy = tmp_path / "copy.jsonl"
    zonegate(gateway, "store", "export", str(copy))
    gateway.call("PUT", path, json={"name": "reader", "policies": _POLICIES, "status": "active"})
    until("the token works", lambda: status(gateway, token["value"]) == 200)
    zonegate(gateway, "store", "import", str(copy), code=1)
    assert status(gateway, token["value"]) == 200
    zonegate(gateway, "store", "import", str(copy), "--overwrite")
    until("the token is refused", lambda: status(gateway, token["value"]) == 401)


def test_a_list_is_mended_beside_a_gateway(gateway: Gateway, secret: str, redis: Redis) -> None:
    assert zonegate(gateway, "store", "check").startswith("The store is consistent: ")
    token_id = secret.split("_")[1]
    names = [*redis.keys("{zg}:tokens:*"), *redis.keys("{zg}:living:*")]
    for name in names:
        redis.zrem(name, token_id)

    def listed() -> bool:
        answer = gateway.call("GET", "/user/tokens", params={"per_page": 50, "direction": "desc"})
        return token_id in [each["id"] for each in answer.json()["result"]]

    assert not listed()
    found = zonegate(gateway, "store", "check", code=1).splitlines()
    assert [line for line in found if line.startswith(keys.token_key(token_id))]
    zonegate(gateway, "store", "check", "--repair")
    assert listed()
    assert status(gateway, secret) == 200
    assert zonegate(gateway, "store", "check").startswith("The store is consistent: ")


def test_a_first_owner_that_was_locked_out_comes_back(gateway: Gateway, secret: str, redis: Redis) -> None:
    (name,) = redis.keys("{zg}:owner:*")
    before = redis.get(name)
    assert before is not None
    found = json.loads(zonegate(gateway, "init", "--recover", "--json"))
    until("the new token works", lambda: status(gateway, found["value"], "/user/tokens") == 200)
    assert status(gateway, secret) == 200
    assert "--recover" in gateway.command("--config", str(gateway.config), "init").stderr


def test_an_export_that_was_killed_goes_on_the_next_time(gateway: Gateway, redis: Redis, tmp_path: Path) -> None:
    document = json.loads(redis.get(keys.token_key(gateway.first.split("_")[1])) or b"null")
    owner = f"{document['owner']['kind']}:{document['owner']['id']}"
    ids = [f"{number:032x}" for number in range(6_000)]
    redis.mset({keys.token_key(each): json.dumps(document | {"id": each}) for each in ids})
    for name in (keys.tokens_key(owner), keys.living_key(owner)):
        redis.zadd(name, {each: place for place, each in enumerate(ids)})
    copy, part = tmp_path / "copy.jsonl", tmp_path / "copy.jsonl.part"
    arguments = [ZONEGATE, "--config", str(gateway.config), "store", "export", str(copy)]
    killed = subprocess.Popen(arguments, env=gateway.environment)
    until("some of it is written", lambda: part.exists() and part.stat().st_size > 100_000)
    killed.send_signal(signal.SIGKILL)
    killed.wait(30)
    assert not copy.exists()
    printed = zonegate(gateway, "store", "export", str(copy), "--json")
    exported = json.loads(printed)
    assert 0 < exported["resumed"] < exported["tokens"]
    assert exported["tokens"] == exported["seen"] >= 6_000
    lines = copy.read_text().splitlines()
    assert len({line for line in lines if '"kind":"token"' in line}) == exported["tokens"] == len(lines) - 3
    assert zonegate(gateway, "store", "import", str(copy)).startswith("Wrote 0 documents, ")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        pytest.param(["freeze"], "it may have been done; the same command says so", id="freeze"),
        pytest.param(["thaw"], "it may have been done; the same command says so", id="thaw"),
        pytest.param(
            ["init", "--recover"],
            "it may have been done, and its secret is lost: `zonegate init --recover` makes another",
            id="recover",
        ),
        pytest.param(["store", "check"], "the same command goes on", id="check"),
    ],
)
def test_a_ctrl_c_is_one_line_that_says_what_may_have_been_done(command: list[str], said: str, tmp_path: Path) -> None:
    asked = threading.Event()

    def silent(sock: socket.socket) -> None:
        while sock.recv(4096):
            asked.set()

    store = RawUpstream(silent)
    (tmp_path / "zonegate.toml").write_text(f'[store]\nurl = "{store.url.replace("http", "redis")}/0"\n')
    process = subprocess.Popen([ZONEGATE, *command], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert asked.wait(30)
    until("it waits for the answer", lambda: "\nState:\tS" in Path(f"/proc/{process.pid}/status").read_text())
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=30)
    store.stop()
    assert (process.returncode, printed) == (130, f"zonegate: interrupted: {said}\n")
