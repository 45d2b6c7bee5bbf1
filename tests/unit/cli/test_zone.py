import json
from collections.abc import Callable
from typing import Any

import pytest
from support.processes import Gateway
from typer.testing import CliRunner, Result

from gateway.cli.main import app
from gateway.demo.dataset import ZONES

GAMMA = ZONES["gamma.example"]
ACCOUNT = "e" * 32
API = ["--api", "cloudflare-dns"]

Run = Callable[..., Result]


@pytest.fixture
def zone(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Run:
    """`zonegate zone ARGUMENTS`, asking the gateway as the first owner."""
    monkeypatch.chdir(tmp_path)

    def zone(*arguments: str) -> Result:
        given = {"ZONEGATE_URL": gateway.url, "ZONEGATE_TOKEN": gateway.first}
        result = CliRunner().invoke(app, ["zone", *arguments], env=given)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return zone


def test_without_a_command_the_help_names_them_all(zone: Run) -> None:
    assert all(command in zone().stdout for command in ("set", "show", "unset"))


def test_a_zone_lies_where_it_is_set_until_it_is_unset(zone: Run) -> None:
    said = f"Zone {GAMMA} (gamma.example) of cloudflare-dns lies in account {ACCOUNT}.\n"
    assert zone("set", GAMMA, *API, "--account", ACCOUNT, "--name", "gamma.example").stdout == said
    assert zone("show", GAMMA, *API).stdout == said
    assert zone("unset", GAMMA, *API).stdout == f"Nothing is put down of zone {GAMMA} of cloudflare-dns any more.\n"
    gone = zone("show", GAMMA, *API)
    assert (gone.exit_code, gone.stdout) == (1, "")
    assert gone.stderr == "zonegate: There is no such zone (code 10404)\n"


def test_programs_get_the_zone_as_the_api_gives_it(zone: Run) -> None:
    shown = json.loads(zone("set", GAMMA, *API, "--account", ACCOUNT, "--json").stdout)
    assert (shown["id"], shown["api"], shown["account"], shown["name"]) == (GAMMA, "cloudflare-dns", ACCOUNT, "")
    assert json.loads(zone("show", GAMMA, *API, "--json").stdout) == shown
    assert json.loads(zone("unset", GAMMA, *API, "--json").stdout) == {"id": GAMMA, "api": "cloudflare-dns"}


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        pytest.param(["show", "a b", *API], 2, "'a b': not a zone: its id, or its DNS name", id="no zone"),
        pytest.param(["show", "../x", *API], 2, "'../x': not a zone", id="a way out of the path"),
        pytest.param(
            ["show", GAMMA, "--api", "nope"], 1, "There is no such API; there are: cloudflare-dns", id="no API"
        ),
        pytest.param(
            ["set", GAMMA, *API, "--account", "\udcff"], 2, "'\\udcff': not UTF-8", id="bytes that are not UTF-8"
        ),
        pytest.param(
            ["set", GAMMA, *API, "--account", "*"], 1, "one account's id (code 10400, at /account)", id="every account"
        ),
    ],
)
def test_what_cannot_be_done_is_one_line(zone: Run, arguments: list[str], code: int, line: str) -> None:
    result = zone(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(f"zonegate: {line}")
    assert result.stderr.count("\n") == 1
