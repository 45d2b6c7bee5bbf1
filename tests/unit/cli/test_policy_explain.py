import json
from collections.abc import Callable
from typing import Any

import pytest
from support.processes import Gateway
from support.records import ZONE_A, ZONE_B
from typer.testing import CliRunner, Result

from gateway.cli.answer import Explained
from gateway.cli.main import app
from gateway.cli.policy_explain import lines_of

PATH = f"/client/v4/zones/{ZONE_B}/dns_records"


@pytest.fixture
def explain(gateway: Gateway, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`zonegate policy explain ARGUMENTS`, asking the gateway as the first owner."""
    monkeypatch.chdir(tmp_path)

    def explain(*arguments: str) -> Result:
        env = {"ZONEGATE_URL": gateway.url, "ZONEGATE_TOKEN": gateway.first}
        result = CliRunner().invoke(app, ["policy", "explain", *arguments], env=env)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert gateway.first not in result.output
        return result

    return explain


@pytest.fixture
def token_id(run_json: Callable[..., Any]) -> str:
    """A token for the records of zone A."""
    made: dict[str, str] = run_json("create", "--name", "a", "--permission", "DNS Write", "--zone", ZONE_A)
    return made["id"]


def test_a_denial_is_told_with_each_policy_and_the_least_change(explain: Callable[..., Result], token_id: str) -> None:
    result = explain("--token", token_id, "--method", "get", "--path", PATH)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"denied: forbidden  GET {PATH}, from 127.0.0.1, at 20")
    assert f"[ ] token's policy 1 (allow): Its resources do not take in zone {ZONE_B}" in result.stdout
    assert "[x] owner's policy 1 (allow): " in result.stdout
    assert lines[-1] == f"To allow it: Give the token DNS Read on zone {ZONE_B}"


def test_json_is_what_the_api_says(explain: Callable[..., Result], token_id: str) -> None:
    result = explain(
        "--token", token_id, "--method", "GET", "--path", PATH, "--ip", "192.0.2.1", "--at", "2027-01-31", "--json"
    )
    shown = json.loads(result.stdout)
    assert (shown["decision"], shown["reason"]) == ("deny", "forbidden")
    assert shown["request"] == {"method": "GET", "path": PATH, "ip": "192.0.2.1", "at": "2027-01-31T00:00:00Z"}


def test_a_body_is_part_of_the_request(explain: Callable[..., Result], token_id: str) -> None:
    result = explain("--token", token_id, "--method", "POST", "--path", "/client/v4/zones", "--body", "{}")
    assert "Let the body name it" in result.stdout or "Zone Write" in result.stdout


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        pytest.param(("--token", "x", "--method", "GET", "--path", "/"), 2, "not a token's id", id="no id"),
        pytest.param(
            ("--token", "f" * 32, "--method", "GET", "--path", "/", "--at", "soon"), 2, "--at 'soon'", id="no moment"
        ),
        pytest.param(("--token", "f" * 32, "--method", "GET", "--path", "/"), 1, "no such token", id="no token"),
    ],
)
def test_what_cannot_be_explained_is_one_line(
    explain: Callable[..., Result],
    flags: tuple[str, ...],
    code: int,
    says: str,
) -> None:
    result = explain(*flags)
    assert result.exit_code == code
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_the_api_does_not_know_of_the_request_is_said_to_be_wrong(
    explain: Callable[..., Result], token_id: str
) -> None:
    result = explain("--token", token_id, "--method", "GET", "--path", "/", "--ip", "here")
    assert result.exit_code == 1
    assert "/ip" in result.stderr


def test_an_allowed_request_has_no_remedy_and_text_of_others_cannot_play_with_the_terminal() -> None:
    result = Explained.Result(
        decision="allow",
        message="Allowed\x1b[2J",
        request=Explained.Request("GET", "/x", "192.0.2.1", "2027-01-31T00:00:00Z"),
        policies=(Explained.Policy("token", "allow", True, "because [bold]"),),
    )
    lines = [line.plain for line in lines_of(result)]
    assert lines == [
        "allowed  GET /x, from 192.0.2.1, at 2027-01-31T00:00:00Z",
        "Allowed\\u001b[2J",
        "  [x] token's policy 1 (allow): because [bold]",
    ]


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        pytest.param(("token", True, 3), "      limits of the token: 4 in 60 s, 3 left", id="its own"),
        pytest.param(("settings", True, None), "      limits of the settings: 4 in 60 s", id="at another moment"),
        pytest.param(
            ("token", False, 0),
            "      limits of the token: 4 in 60 s, 0 left; not counted here",
            id="what does not count",
        ),
    ],
)
def test_the_limits_that_hold_have_a_line(limits: tuple[str, bool, int | None], line: str) -> None:
    request = Explained.Request("GET", PATH)
    result = Explained.Result("allow", "", request, limits=Explained.Limits(4, 60, *limits))
    assert [text.plain for text in lines_of(result)][1:] == [line]
