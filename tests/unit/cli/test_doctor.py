import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from support.processes import free_port
from typer.testing import CliRunner, Result

from gateway.cli.main import app

Doctor = Callable[..., Result]


@pytest.fixture
def upstream() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def doctor(server: tuple[Path, str], redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """`zonegate doctor ARGUMENTS` over the store of the settings, to which `text` is added."""
    assert redis.dbsize() == 0
    monkeypatch.chdir(tmp_path)

    def doctor(text: str, *arguments: str) -> Result:
        config = tmp_path / "zonegate.toml"
        config.write_text(f'[store]\ndata_dir = "{server[0]}"\n[listen]\nmax_connections = 50\n{text}')
        config.chmod(0o600)
        return CliRunner().invoke(app, ["doctor", *arguments])

    return doctor


def checks(result: Result) -> dict[str, str]:
    """The worst status of each check, as `--json` tells it."""
    found: dict[str, Any] = json.loads(result.stdout)
    assert found["healthy"] is (result.exit_code == 0)
    worst: dict[str, str] = {}
    for each in found["checks"]:
        assert each["remedy"] or each["status"] == "ok"
        if worst.get(each["check"]) != "error":
            worst[each["check"]] = each["status"]
    return worst


def target(port: int, scheme: str = "http", more: str = "") -> str:
    return f'[upstreams.cloudflare-dns]\ntargets = ["{scheme}://localhost:{port}"]\n{more}'


def test_all_is_well_but_for_the_owner_that_is_not_there_yet(doctor: Doctor, upstream: int) -> None:
    result = doctor(target(upstream))
    assert result.exit_code == 0, result.output
    assert "ok       store: embedded: it answers" in result.stdout
    assert f"ok       upstream: cloudflare-dns: http://localhost:{upstream}: connected" in result.stdout
    assert "warning  owner: there is no first owner yet\n           mend it: zonegate init\n" in result.stdout
    assert result.stdout.endswith("0 errors, 1 warning.\n")


def test_it_changes_nothing_but_the_mark_that_the_store_is_ours(doctor: Doctor, upstream: int, redis: Redis) -> None:
    doctor(target(upstream))
    assert redis.keys() == [b"{zg}:meta"]


def test_an_upstream_that_is_not_there_is_an_error(doctor: Doctor) -> None:
    assert checks(doctor(target(free_port()), "--json"))["upstream"] == "error"


def test_an_upstream_that_does_not_answer_the_handshake_is_an_error_that_says_so(doctor: Doctor, upstream: int) -> None:
    text = target(upstream, "https") + "[limits]\nconnect_timeout = 0.2\n"
    result = doctor(text)  # who listens there says nothing
    assert result.exit_code == 1
    assert "no connection within 0.2 s" in result.stdout


def test_settings_that_cannot_be_read_are_the_one_error(doctor: Doctor) -> None:
    assert checks(doctor("typo = 1", "--json")) == {"settings": "error"}


def test_policies_that_cannot_be_read_are_an_error_and_the_rest_is_looked_at(doctor: Doctor) -> None:
    found = checks(doctor('[policies]\ndir = "nowhere"', "--json"))
    assert (found["policies"], found["store"]) == ("error", "ok")


def test_a_store_that_evicts_is_an_error(doctor: Doctor, upstream: int, redis: Redis) -> None:
    redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert checks(doctor(target(upstream), "--json"))["eviction"] == "error"
    finally:
        redis.config_set("maxmemory-policy", "noeviction")


def test_a_secret_that_everybody_can_read_is_an_error_that_names_its_key(
    doctor: Doctor, upstream: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "upstream-token"
    secret.write_text("Bearer word\n")
    secret.chmod(0o644)
    monkeypatch.setenv("PLACE", str(secret))
    text = target(upstream, more='credential = { value = "file:${PLACE}" }\n')
    result = doctor(text)
    assert result.exit_code == 1
    said = f"error    files: upstreams.cloudflare-dns.credential.value: {secret}: everybody may read it"
    assert f"{said}\n           mend it: chmod o-rw {secret}\n" in result.stdout
    assert "word" not in result.output
    secret.chmod(0o600)
    assert doctor(text).exit_code == 0


def test_a_password_that_the_store_refuses_is_an_error_that_says_so_and_not_the_password(
    doctor: Doctor, upstream: int, server: tuple[Path, str], redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZONEGATE_STORE__URL", server[1].replace("://", "://:wrong@"))
    redis.config_set("requirepass", "right")
    try:
        result = doctor(target(upstream))
    finally:
        redis.config_set("requirepass", "")
    assert result.exit_code == 1
    assert "error    store: of store.url: the store refused the user or the password in store.url" in result.stdout
    assert "wrong" not in result.output


def test_a_store_that_is_away_is_an_error_and_the_rest_is_looked_at(
    doctor: Doctor, upstream: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZONEGATE_STORE__URL", f"redis://127.0.0.1:{free_port()}")
    found = checks(doctor(target(upstream), "--json"))
    assert (found["store"], found["upstream"]) == ("error", "ok")


def test_settings_that_everybody_can_read_are_a_warning(doctor: Doctor, upstream: int, tmp_path: Path) -> None:
    doctor(target(upstream))
    (tmp_path / "zonegate.toml").chmod(0o644)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert checks(result)["files"] == "warning"
