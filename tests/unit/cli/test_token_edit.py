from collections.abc import Callable
from typing import Any

import httpx
import pytest
import typer
from support.processes import Gateway
from support.records import USER, ZONE_A, ZONE_B, group_id, zone
from typer.testing import Result

from gateway.cli.answer import Answer
from gateway.cli.client import TokenApiClient, open_api
from gateway.cli.token_edit import change_token
from gateway.tokens.secret import Sensitive

Run = Callable[..., Result]
DNS = [{"effect": "allow", "permission_groups": [{"id": group_id("DNS Write")}], "resources": {zone(ZONE_A): "*"}}]
NAMED = {
    "name": "old",
    "policies": DNS,
    "condition": {"request_ip": {"in": ["192.0.2.0/24"], "not_in": ["192.0.2.7"]}},
    "expires_on": "2100-01-01T00:00:00Z",
}


@pytest.fixture
def token(gateway: Gateway) -> dict[str, Any]:
    """A token to edit, as it was made."""
    return gateway.create(**NAMED)


def now(gateway: Gateway, token: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = gateway.call("GET", f"/user/tokens/{token['id']}").json()["result"]
    return found


def without(token: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in token.items() if key not in {"value", "modified_on", *keys}}


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [
        pytest.param(["--name", "new"], {"name": "new"}, id="the name"),
        pytest.param(
            ["--ip", "::1"], {"condition": {"request_ip": {"in": ["::1"], "not_in": ["192.0.2.7"]}}}, id="networks"
        ),
        pytest.param(["--no-ip"], {"condition": None}, id="no networks"),
        pytest.param(["--expires", "2100-02-01"], {"expires_on": "2100-02-01T00:00:00Z"}, id="the end"),
        pytest.param(["--no-expiry"], {"expires_on": None}, id="no end"),
        pytest.param(["--not-before", "2027-01-31"], {"not_before": "2027-01-31T00:00:00Z"}, id="the beginning"),
    ],
)
def test_an_edit_changes_what_flags_say_and_nothing_else(
    arguments: list[str], changes: dict[str, Any], gateway: Gateway, run: Run, token: dict[str, Any]
) -> None:
    result = run("edit", token["id"], *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    assert token["id"] in result.stdout
    expected = {key: value for key, value in (without(token) | changes).items() if value is not None}
    assert without(now(gateway, token)) == expected


def test_an_edit_keeps_the_secret(gateway: Gateway, run: Run) -> None:
    made = gateway.create(name="old", policies=DNS)
    assert run("edit", made["id"], "--name", "new").exit_code == 0
    assert gateway.call("GET", "/user/tokens/verify", made["value"]).status_code == httpx.codes.OK


def test_flags_of_policies_make_them_anew_and_keep_the_rest(
    gateway: Gateway, run_json: Callable[..., Any], token: dict[str, Any]
) -> None:
    edited = run_json("edit", token["id"], "--permission", "Zone Read", "--all-zones", "--except-zone", ZONE_B)
    assert edited == now(gateway, token)
    assert without(edited, "policies") == without(token, "policies")
    assert [(policy["effect"], list(policy["resources"])) for policy in edited["policies"]] == [
        ("allow", ["com.cloudflare.api.account.zone.*"]),
        ("deny", [zone(ZONE_B)]),
    ]


def test_policies_that_no_flag_names_keep_even_their_ids(run_json: Callable[..., Any], token: dict[str, Any]) -> None:
    assert run_json("edit", token["id"], "--name", "new")["policies"] == token["policies"]


def test_a_disabled_token_stays_disabled(gateway: Gateway, run: Run, token: dict[str, Any]) -> None:
    assert run("disable", token["id"]).exit_code == 0
    assert run("edit", token["id"], "--name", "new").exit_code == 0
    assert now(gateway, token)["status"] == "disabled"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        pytest.param([], "nothing to change", id="nothing"),
        pytest.param(["--zone", ZONE_A], "--permission: missing", id="a zone alone"),
        pytest.param(["--name", "x" * 121], "--name: a name has 1 to 120 characters", id="name"),
        pytest.param(["--expires", "2020-01-01"], "--expires: in the past", id="expires"),
        pytest.param(["--expires", "1d", "--no-expiry"], "--no-expiry: --expires says the contrary", id="both"),
        pytest.param(["--not-ip", "x"], "--not-ip 'x': not an address", id="network"),
        pytest.param(["--template", "x"], "--template: there is no template 'x'", id="template"),
    ],
)
def test_wrong_use_is_one_line_and_changes_nothing(
    arguments: list[str], line: str, gateway: Gateway, run: Run, token: dict[str, Any]
) -> None:
    result = run("edit", token["id"], *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"zonegate: {line}")
    assert len(result.stderr.splitlines()) == 1
    assert now(gateway, token) == without(token) | {"modified_on": token["modified_on"]}


def test_what_only_the_gateway_can_judge_is_its_refusal(run: Run, token: dict[str, Any]) -> None:
    result = run("edit", token["id"], "--not-before", "2101-01-01")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "zonegate: not after not_before (code 10400, at /expires_on)\n"


async def test_a_token_that_somebody_else_changed_meanwhile_is_left_alone(
    gateway: Gateway, token: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def change(shown: dict[str, Any]) -> dict[str, Any]:
        theirs = {key: value for key, value in shown.items() if key != "status"} | {"name": "theirs"}
        assert gateway.call("PUT", f"/user/tokens/{token['id']}", json=theirs).status_code == httpx.codes.OK
        return shown | {"name": "ours"}

    async with open_api(gateway.url, Sensitive(gateway.first)) as api:
        with pytest.raises(typer.Exit) as ended:
            await change_token(api, token["id"], change)
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == (
        f"zonegate: somebody else changed token {token['id']} meanwhile, so nothing was done: "
        "look at it, then try again\n"
    )
    assert now(gateway, token)["name"] == "theirs"


class WithoutTags(TokenApiClient):
    """A gateway behind a proxy that takes the ETag away."""

    def __init__(self, api: TokenApiClient) -> None:
        self._api = api

    async def token(self, token_id: str) -> Answer:
        answer = await self._api.token(token_id)
        return Answer(answer.raw, answer.token)


async def test_without_an_etag_nothing_is_changed(
    gateway: Gateway, token: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_api(gateway.url, Sensitive(gateway.first)) as api:
        with pytest.raises(typer.Exit) as ended:
            await change_token(WithoutTags(api), token["id"], lambda shown: shown)
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err.startswith("zonegate: the answer has no ETag")


def test_a_token_that_is_not_there_is_a_refusal(run: Run) -> None:
    result = run("edit", USER, "--name", "x")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "zonegate: There is no such token (code 10404)\n"
