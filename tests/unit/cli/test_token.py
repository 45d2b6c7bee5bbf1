import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.processes import ZONEGATE, Gateway, free_port
from support.records import USER, ZONE_A, group_id, zone
from typer.testing import CliRunner, Result

from gateway.cli.main import app

Run = Callable[..., Result]
DNS = [{"effect": "allow", "permission_groups": [{"id": group_id("DNS Write")}], "resources": {zone(ZONE_A): "*"}}]
COMMANDS = ("create", "list", "show", "edit", "verify", "roll", "disable", "enable", "delete")
WITH_ID = ("show", "edit", "roll", "disable", "enable", "delete")


@pytest.fixture
def token(gateway: Gateway) -> dict[str, Any]:
    """A token, as it was made."""
    return gateway.create(name="made", policies=DNS)


def status(gateway: Gateway, secret: str) -> int:
    """What a token's holder is answered."""
    return gateway.call("GET", "/user/tokens/verify", secret).status_code


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does_with_an_example(command: str, zonegate: Run) -> None:
    result = zonegate(command, "--help", env={"TERM": "dumb", "COLUMNS": "200"})
    assert result.exit_code == 0
    assert "Example: " in result.stdout
    assert f"zonegate token {command}" in result.stdout.partition("Example: ")[2]


def test_the_list_has_every_token_beyond_one_page_and_expired_ones(
    gateway: Gateway, run: Run, run_json: Callable[..., Any]
) -> None:
    made = {gateway.create(name=f"token {number}", policies=DNS)["id"] for number in range(55)}
    tokens = run_json("list")
    assert made < {token["id"] for token in tokens}
    assert all("value" not in token for token in tokens)
    result = run("list")
    assert result.exit_code == 0
    assert made < {line.split(" ")[0] for line in result.stdout.splitlines()}
    for token_id in made:
        gateway.call("DELETE", f"/user/tokens/{token_id}")


def test_a_list_shows_a_name_without_obeying_it(gateway: Gateway, run: Run) -> None:
    made = gateway.create(name="\u202e[red]x[/red]\u200b", policies=DNS)
    for result in (run("list"), run("show", made["id"])):
        assert "\\u202e[red]x[/red]\\u200b" in result.stdout
        assert "\u202e" not in result.stdout


def test_one_token_is_shown_in_plain_words(gateway: Gateway, run: Run, token: dict[str, Any]) -> None:
    result = run("show", token["id"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"may use DNS Edit on zone {ZONE_A}" in result.stdout
    assert token["value"] not in result.stdout
    assert gateway.first not in result.stdout


def test_one_token_is_shown_as_the_api_gives_it(run_json: Callable[..., Any], token: dict[str, Any]) -> None:
    value = token.pop("value")
    assert run_json("show", token["id"]) == token
    assert value not in json.dumps(token)


def test_a_token_asks_about_itself(gateway: Gateway, run: Run, token: dict[str, Any]) -> None:
    result = run("verify", ZONEGATE_TOKEN=token["value"])
    assert result.exit_code == 0
    assert result.stdout == f"Token {token['id']} is active, without an end.\nThis API Token is valid and active\n"
    result = run("verify", "--json", ZONEGATE_TOKEN=token["value"])
    assert json.loads(result.stdout) == {"id": token["id"], "status": "active"}
    gateway.call("DELETE", f"/user/tokens/{token['id']}")
    result = run("verify", ZONEGATE_TOKEN=token["value"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("zonegate: Invalid API Token (code 1000): ZONEGATE_TOKEN: rolled, ended, ")


def test_the_holder_of_a_disabled_token_is_told_why(run: Run, token: dict[str, Any]) -> None:
    run("disable", token["id"])
    result = run("verify", ZONEGATE_TOKEN=token["value"])
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert first == "zonegate: Invalid API Token (code 1000)"
    assert second.startswith("zonegate: The token is disabled (code 1000): ZONEGATE_TOKEN: ")


def test_a_roll_shows_the_new_secret_and_kills_the_old_one(gateway: Gateway, run: Run, token: dict[str, Any]) -> None:
    result = run("roll", token["id"])
    assert (result.exit_code, result.stderr) == (0, "")
    secret = result.stdout.splitlines()[2].strip()
    assert secret.startswith(f"zgt_{token['id']}_")
    assert f'curl {gateway.url}/user/tokens/verify -H "Authorization: Bearer {secret}"' in result.stdout
    assert "not shown again" in result.stdout
    assert (status(gateway, secret), status(gateway, token["value"])) == (200, 401)


def test_a_roll_with_an_overlap_leaves_the_old_secret_alive(gateway: Gateway, run: Run, token: dict[str, Any]) -> None:
    result = run("roll", token["id"], "--overlap", "1h")
    assert result.exit_code == 0
    assert "the old one goes on for 1h, or to the token's end" in result.stdout
    assert status(gateway, token["value"]) == 200


@pytest.mark.parametrize("overlap", ["31d", "0s", "soon", "60"])
def test_an_overlap_that_is_none_is_wrong_use(run: Run, token: dict[str, Any], overlap: str) -> None:
    result = run("roll", token["id"], "--overlap", overlap)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"zonegate: --overlap '{overlap}': a span of time")


def test_a_cascade_tells_how_many_tokens_went_along(run: Run, token: dict[str, Any]) -> None:
    result = run("delete", token["id"], "--cascade")
    assert (result.exit_code, result.stdout) == (0, f"Token {token['id']} is deleted.\n")


def test_for_programs_a_roll_is_id_and_value(
    gateway: Gateway, run_json: Callable[..., Any], token: dict[str, Any]
) -> None:
    rolled = run_json("roll", token["id"])
    assert rolled.keys() == {"id", "value"}
    assert (rolled["id"], status(gateway, rolled["value"])) == (token["id"], 200)


def test_a_disabled_token_does_nothing_until_it_is_enabled(
    gateway: Gateway, run: Run, run_json: Callable[..., Any], token: dict[str, Any]
) -> None:
    result = run("disable", token["id"])
    assert result.stdout == f'Token {token["id"]}, "made", is disabled.\n'
    assert status(gateway, token["value"]) == 401
    result = run("enable", token["id"])
    assert result.stdout == f'Token {token["id"]}, "made", is active.\n'
    assert status(gateway, token["value"]) == 200
    assert run_json("disable", token["id"])["status"] == "disabled"
    assert run_json("enable", token["id"])["status"] == "active"


def test_a_deleted_token_is_gone(
    gateway: Gateway, run: Run, run_json: Callable[..., Any], token: dict[str, Any]
) -> None:
    result = run("delete", token["id"])
    assert (result.exit_code, result.stdout) == (0, f"Token {token['id']} is deleted.\n")
    assert status(gateway, token["value"]) == 401
    other = gateway.create(name="other", policies=DNS)["id"]
    assert run_json("delete", other) == {"id": other}


@pytest.mark.parametrize("command", WITH_ID)
@pytest.mark.parametrize("token_id", ["made", "A" * 32, "0" * 31, f"{'0' * 32}\n", "../verify", "\u202e"])
def test_what_is_no_id_is_wrong_use_and_nobody_is_asked(command: str, token_id: str, zonegate: Run) -> None:
    env = {"ZONEGATE_URL": f"http://127.0.0.1:{free_port()}", "ZONEGATE_TOKEN": "zgt_secret"}
    result = zonegate(command, token_id, env=env)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "not a token's id: 32 lower-case hex digits" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["show", "roll", "disable", "enable", "delete"])
def test_a_token_that_is_not_there_is_a_refusal(command: str, run: Run) -> None:
    result = run(command, USER)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "zonegate: There is no such token (code 10404)\n"


ARGUMENTS = {"create": ["--template", "WordPress", "--yes"], "edit": [USER, "--name", "x"]} | {
    command: [USER] for command in ("show", "roll", "disable", "enable", "delete")
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("variables", "code", "start"),
    [
        pytest.param({"ZONEGATE_TOKEN": ""}, 2, "ZONEGATE_TOKEN: not set", id="no token"),
        pytest.param({"ZONEGATE_URL": "gate.example"}, 2, "ZONEGATE_URL: not a base URL", id="no URL"),
        pytest.param({"ZONEGATE_TOKEN": "zgt_" + "0" * 82}, 1, "Invalid request headers (code 6003)", id="a bad token"),
    ],
)
def test_every_command_says_what_is_wrong_in_one_line(
    command: str, variables: dict[str, str], code: int, start: str, run: Run
) -> None:
    result = run(command, *ARGUMENTS.get(command, []), **variables)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(f"zonegate: {start}")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_waits_for_a_gateway_that_is_not_there(command: str, zonegate: Run) -> None:
    url = f"http://127.0.0.1:{free_port()}/client/v4"
    result = zonegate(command, *ARGUMENTS.get(command, []), env={"ZONEGATE_URL": url, "ZONEGATE_TOKEN": "zgt_secret"})
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"zonegate: {url}: no connection (Connection refused)")


@pytest.mark.parametrize("before", [True, False], ids=["before the command", "behind it"])
def test_without_a_url_the_settings_say_where_the_gateway_is(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, *, before: bool
) -> None:
    monkeypatch.delenv("ZONEGATE_URL", raising=False)
    config = ["--config", str(gateway.config)]
    arguments = [*config, "token", "verify"] if before else ["token", "verify", *config]
    env = {"ZONEGATE_TOKEN": gateway.first, "DEMO_CREDENTIAL": "x"}
    result = CliRunner().invoke(app, arguments, env=env)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "is active" in result.stdout


def test_settings_that_cannot_be_read_are_one_line(zonegate: Run, tmp_path: Path) -> None:
    result = zonegate("list", "--config", str(tmp_path / "none.toml"), env={"ZONEGATE_TOKEN": "zgt_secret"})
    assert (result.exit_code, result.stdout) == (2, "")
    assert "none.toml" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_terminal_that_lacks_a_name_s_characters_gets_their_escapes(gateway: Gateway) -> None:
    made = gateway.create(name="Köln 東京", policies=DNS)
    done = subprocess.run(
        [ZONEGATE, "token", "show", made["id"]],
        env=os.environ | {"ZONEGATE_URL": gateway.url, "ZONEGATE_TOKEN": gateway.first, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"K\xf6ln \\u6771\\u4eac" in done.stdout


ACCOUNT = "e" * 32
NEW = ("create", "--name", "its own", "--yes")


def test_tokens_of_an_account_are_made_shown_and_ended_with_account_owned(
    gateway: Gateway, token: dict[str, Any], run: Run, run_json: Callable[..., Any]
) -> None:
    of = ("--account-owned", ACCOUNT)
    said = (*NEW, "--permission", "DNS Write", "--account", ACCOUNT, "--all-zones")
    shown = run(*of, *said)
    assert shown.exit_code == 0
    assert f"{gateway.url}/accounts/{ACCOUNT}/tokens/verify" in shown.stdout
    made = run_json(*of, *said)
    assert made["value"].startswith("zga_")
    listed = {found["id"] for found in run_json(*of, "list")}
    assert made["id"] in listed
    assert token["id"] not in listed
    assert run("show", made["id"]).exit_code == 1
    assert run_json(*of, "show", made["id"])["owner"] == {"kind": "account", "id": ACCOUNT}
    assert run_json(*of, "edit", made["id"], "--name", "another")["name"] == "another"
    assert run_json(*of, "disable", made["id"])["status"] == "disabled"
    assert run_json(*of, "enable", made["id"])["status"] == "active"
    rolled = run_json(*of, "roll", made["id"])
    assert f"Token {made['id']} is active" in run(*of, "verify", ZONEGATE_TOKEN=rolled["value"]).stdout
    assert run_json(*of, "delete", made["id"]) == {"id": made["id"]}
    assert run(*of, "show", made["id"]).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        pytest.param(
            ["--account-owned", "a/b", "list"], "--account-owned 'a/b': not an account's id", id="no account's id"
        ),
        pytest.param(
            ["--account-owned", ACCOUNT, *NEW, "--user", "--permission", "User Details Read"],
            "--user: there is none",
            id="an account has no user",
        ),
    ],
)
def test_what_no_account_has_is_wrong_use(arguments: list[str], line: str, run: Run) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"zonegate: {line}")
