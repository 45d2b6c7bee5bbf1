from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from support.processes import Gateway
from support.records import ACCOUNT_A, group_id
from typer.testing import CliRunner, Result

from gateway.cli.main import app
from gateway.demo.dataset import ZONES
from gateway.tokens.resource import Scope

ALPHA = ZONES["alpha.example"]
DNS = ["--permission", "DNS Write", "--zone", ALPHA]
COMMANDS = ("create", "list", "show", "edit", "disable", "enable", "delete")

Run = Callable[..., Result]


@pytest.fixture
def owner(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Run:
    """`zonegate owner ARGUMENTS`, asking the gateway as the first owner."""
    monkeypatch.chdir(tmp_path)

    def owner(*arguments: str, env: Mapping[str, str] = {}) -> Result:
        given = {"ZONEGATE_URL": gateway.url, "ZONEGATE_TOKEN": gateway.first} | env
        result = CliRunner().invoke(app, ["owner", *arguments], env=given)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return owner


@pytest.fixture
def owner_json(owner: Run) -> Callable[..., Any]:
    """What `zonegate owner ARGUMENTS --json` prints, decoded."""

    def owner_json(*arguments: str) -> Any:
        result = owner(*arguments, "--json")
        assert (result.exit_code, result.stderr) == (0, ""), result.stderr
        return msgspec.json.decode(result.stdout)

    return owner_json


@pytest.fixture
def made(owner_json: Callable[..., Any]) -> dict[str, Any]:
    """An owner's first token, as its creation shows it."""
    found: dict[str, Any] = owner_json("create", "--name", "Team \N{GRINNING FACE}", *DNS)
    return found


def status(gateway: Gateway, secret: str) -> int:
    return gateway.call("GET", f"/zones/{ALPHA}/dns_records", secret).status_code


def test_without_a_command_the_help_names_them_all(owner: Run) -> None:
    result = owner()
    assert all(command in result.stdout for command in COMMANDS)


def test_a_new_owner_s_first_token_is_shown_with_its_secret(gateway: Gateway, owner: Run) -> None:
    result = owner("create", "--name", "Team A", "--id", "team-a", *DNS)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith('Created user team-a, "Team A". Its first token is ')
    (secret,) = [line.strip() for line in result.stdout.splitlines() if line.startswith("    zgt_")]
    assert status(gateway, secret) == 200
    assert owner("delete", "team-a").stdout == "Owner team-a is deleted, and its tokens: 1.\n"
    assert status(gateway, secret) == 401


def test_user_is_the_new_owner_s_own(owner_json: Callable[..., Any]) -> None:
    made = owner_json("create", "--name", "x", "--permission", "API Tokens Write", "--user")
    assert made["owner"]["policies"][0]["resources"] == {f"{Scope.USER}.{made['owner']['id']}": "*"}


def test_an_account_is_made_under_its_own_id(owner_json: Callable[..., Any]) -> None:
    said = ["--permission", "Billing Read", "--account", ACCOUNT_A]
    made = owner_json("create", "--kind", "account", "--id", ACCOUNT_A, "--name", "A", *said)
    assert (made["owner"]["kind"], made["owner"]["id"]) == ("account", ACCOUNT_A)
    assert owner_json("show", ACCOUNT_A, "--kind", "account") == made["owner"]
    owner_json("delete", ACCOUNT_A)


def test_owners_are_listed_and_shown_to_people(owner: Run, made: dict[str, Any]) -> None:
    assert made["owner"]["id"] in owner("list").stdout
    shown = owner("show", made["owner"]["id"]).stdout
    assert f"may use DNS Edit on zone {ALPHA}" in shown
    assert "Team \N{GRINNING FACE}" in shown


def test_an_edit_changes_what_is_said_and_keeps_the_rest(owner_json: Callable[..., Any], made: dict[str, Any]) -> None:
    owner_id = made["owner"]["id"]
    renamed = owner_json("edit", owner_id, "--name", "renamed")
    assert (renamed["name"], renamed["policies"]) == ("renamed", made["owner"]["policies"])
    narrower = owner_json("edit", owner_id, "--permission", "DNS Read", "--zone", ALPHA)
    assert narrower["name"] == "renamed"
    assert [policy["permission_groups"][0]["id"] for policy in narrower["policies"]] == [group_id("DNS Read")]


def test_a_disabled_owner_s_tokens_do_nothing_until_it_is_enabled(
    gateway: Gateway, owner: Run, made: dict[str, Any]
) -> None:
    owner_id = made["owner"]["id"]
    assert owner("disable", owner_id).stdout == f'Owner {owner_id}, "Team \N{GRINNING FACE}", is disabled.\n'
    assert status(gateway, made["value"]) == 401
    assert owner("enable", owner_id).stdout.endswith("is active.\n")
    assert status(gateway, made["value"]) == 200


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        pytest.param(["create", *DNS], "--name: missing", id="no name"),
        pytest.param(["create", "--name", "x"], "--permission: missing", id="no permission"),
        pytest.param(["create", "--name", "x", "--kind", "account", *DNS], "--id: missing", id="no account"),
        pytest.param(["create", "--name", "x", "--id", "a:b", *DNS], "'a:b': not an owner's id", id="no id"),
        pytest.param(["show", "*"], "'*': not an owner's id", id="every owner"),
        pytest.param(["edit", "x"], "nothing to change", id="nothing to change"),
        pytest.param(["create", "--name", "x", "--kind", "team", *DNS], "Invalid value for '--kind'", id="no kind"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    gateway: Gateway, arguments: list[str], line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    done = gateway.command(
        "owner", *arguments, env={"ZONEGATE_URL": gateway.url, "ZONEGATE_TOKEN": gateway.first}, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"zonegate: {line}")
    assert done.stderr.count("\n") == 1


def test_a_refusal_is_told_with_each_excess(gateway: Gateway, owner: Run) -> None:
    limited = gateway.create(
        name="operator",
        policies=[
            {
                "effect": "allow",
                "permission_groups": [{"id": group_id("Zonegate Owners Write", Scope.USER)}, _tokens_read()],
                "resources": {f"{Scope.USER}.{_first_user(gateway)}": "*"},
            }
        ],
    )
    result = owner("create", "--name", "x", *DNS, env={"ZONEGATE_TOKEN": limited["value"]})
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"your token does not give DNS Edit on zone {ALPHA} (code 10000, at /policies/0)" in result.stderr


def _tokens_read() -> dict[str, str]:
    return {"id": group_id("API Tokens Read", Scope.USER)}


def _first_user(gateway: Gateway) -> str:
    own = gateway.call("GET", "/user/tokens/verify").json()["result"]["id"]
    return str(gateway.call("GET", f"/user/tokens/{own}").json()["result"]["owner"]["id"])
