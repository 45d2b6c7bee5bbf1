"""A real gateway, started once, and `zonegate token ...` as its operator runs it."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis import Redis
from support.processes import Gateway, running
from typer.testing import CliRunner, Result

from gateway.cli.main import app
from gateway.store.embedded import EmbeddedServer

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("gateway")) as (gateway, _):
        yield gateway


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Where a running store keeps its data, and its URL: the command finds it there."""
    data_dir = tmp_path_factory.mktemp("store")
    embedded = EmbeddedServer(data_dir)
    yield data_dir, embedded.start()
    embedded.stop()


@pytest.fixture
def redis(server: tuple[Path, str]) -> Iterator[Redis]:
    """What the store holds: at first nothing."""
    client = Redis.from_url(server[1])
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def zonegate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`zonegate token ARGUMENTS` in this process; never a traceback, and errors never hold the secret."""
    monkeypatch.chdir(tmp_path)  # no zonegate.toml of ours is here

    def zonegate(*arguments: str, env: Mapping[str, str]) -> Result:
        result = CliRunner().invoke(app, ["token", *arguments], env=dict(env))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        secret = env.get("ZONEGATE_TOKEN")
        assert not secret or secret not in result.output
        return result

    return zonegate


@pytest.fixture
def run(gateway: Gateway, zonegate: Run) -> Run:
    """`zonegate token ARGUMENTS`, asking the gateway as the first owner."""

    def run(*arguments: str, **env: str) -> Result:
        return zonegate(*arguments, env={"ZONEGATE_URL": gateway.url, "ZONEGATE_TOKEN": gateway.first} | env)

    return run


@pytest.fixture
def run_json(run: Run) -> Callable[..., Any]:
    """What `zonegate token ARGUMENTS --json` prints, decoded."""

    def run_json(*arguments: str) -> Any:
        result = run(*arguments, "--json")
        assert (result.exit_code, result.stderr) == (0, "")
        return msgspec.json.decode(result.stdout)

    return run_json
