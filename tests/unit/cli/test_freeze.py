"""`zonegate freeze` and `zonegate thaw`: what they do, and what they say that it means."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from typer.testing import CliRunner, Result

from gateway.cli.main import app
from gateway.store import keys

Run = Callable[..., Result]


@pytest.fixture
def zonegate(server: tuple[Path, str], redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`zonegate ARGUMENTS`, which succeeds, over an empty store."""
    assert redis.dbsize() == 0
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zonegate.toml").write_text(f'[store]\ndata_dir = "{server[0]}"\n')

    def zonegate(*arguments: str) -> Result:
        result = CliRunner().invoke(app, arguments)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        return result

    return zonegate


def test_a_frozen_store_is_frozen_until_it_is_thawed(zonegate: Run, redis: Redis) -> None:
    zonegate("freeze")
    assert redis.hexists(keys.META, "frozen")
    zonegate("thaw")
    assert not redis.hexists(keys.META, "frozen")


def test_both_are_told_to_all_gateways_and_audited(zonegate: Run, redis: Redis) -> None:
    with redis.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(keys.CHANGED)
        zonegate("freeze")
        zonegate("thaw")
        messages = [heard.get_message(timeout=5) for _ in range(4)]
    assert [message["data"] for message in messages if message] == [b"1 freeze", b"2 thaw"]
    assert [fields[b"action"] for _, fields in redis.xrange(keys.AUDIT)] == [b"freeze", b"thaw"]


def test_what_it_means_is_said(zonegate: Run) -> None:
    said = zonegate("freeze").stdout
    assert said.startswith("Frozen: no token works")
    assert "`zonegate thaw` ends it" in said
    assert zonegate("thaw").stdout == "Thawed: tokens work again.\n"


def test_what_is_so_already_is_said_and_changes_nothing(zonegate: Run, redis: Redis) -> None:
    assert zonegate("thaw").stdout == "It was not frozen: tokens work.\n"
    zonegate("freeze")
    before = redis.hgetall(keys.META), redis.get(keys.SEQUENCE)
    said = zonegate("freeze").stdout
    assert said.startswith("It was frozen already, since 2")
    assert (redis.hgetall(keys.META), redis.get(keys.SEQUENCE)) == before


def test_programs_get_json(zonegate: Run, redis: Redis) -> None:
    frozen = json.loads(zonegate("freeze", "--json").stdout)
    assert frozen == {"frozen": True, "since": frozen["since"], "changed": True}
    assert json.loads(zonegate("freeze", "--json").stdout) == frozen | {"changed": False}
    assert json.loads(zonegate("thaw", "--json").stdout) == {"frozen": False, "since": None, "changed": True}
    redis.hset(keys.META, "frozen", "by hand")
    assert json.loads(zonegate("freeze", "--json").stdout) == {"frozen": True, "since": None, "changed": False}


@pytest.mark.parametrize("command", ["freeze", "thaw"])
def test_a_store_that_is_away_is_one_line(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zonegate.toml").write_text('[store]\nurl = "redis://127.0.0.1:9/0"\n')
    result = CliRunner().invoke(app, [command])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "zonegate: store.url: the store did not answer\n"
