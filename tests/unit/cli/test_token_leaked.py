import json
from collections.abc import Callable
from typing import Any

import pytest
from support.processes import Gateway
from support.records import ZONE_A, group_id, secret_of, zone
from typer.testing import CliRunner, Result

from gateway.admin.leaked import Outcome
from gateway.cli.main import app
from gateway.cli.token_leaked import IN_WORDS

DNS = [{"effect": "allow", "permission_groups": [{"id": group_id("DNS Write")}], "resources": {zone(ZONE_A): "*"}}]
Report = Callable[..., Result]


@pytest.fixture
def report(gateway: Gateway) -> Report:
    """`zonegate token leaked`, with a text on standard input."""

    def report(text: str, *arguments: str, **env: str) -> Result:
        result = CliRunner().invoke(
            app,
            ["token", "leaked", *arguments],
            input=text,
            env={"ZONEGATE_URL": gateway.url, "ZONEGATE_TOKEN": ""} | env,
        )
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return report


@pytest.fixture
def made(gateway: Gateway) -> dict[str, Any]:
    return gateway.create(name="made", policies=DNS)


def status(gateway: Gateway, secret: str) -> int:
    return gateway.call("GET", "/user/tokens/verify", secret).status_code


def test_a_secret_in_the_midst_of_a_text_ends_its_token_and_is_proof_enough(
    gateway: Gateway, made: dict[str, Any], report: Report
) -> None:
    result = report(f'config.py:3: TOKEN = "{made["value"]}"  # do not commit\n')
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"Token {made['id']} is disabled.\n"
    assert status(gateway, made["value"]) == 401


def test_a_token_that_has_been_reported_may_be_reported_again_and_still_is_its_own_proof(
    made: dict[str, Any], report: Report
) -> None:
    report(made["value"])
    assert report(made["value"]).stdout == f"Token {made['id']} was disabled already.\n"


def test_a_token_whose_address_condition_excludes_the_finder_is_ended_all_the_same(
    gateway: Gateway, report: Report
) -> None:
    far = gateway.create(name="far", policies=DNS, condition={"request_ip": {"in": ["203.0.113.0/24"]}})
    assert status(gateway, far["value"]) == 403
    assert report(far["value"]).stdout == f"Token {far['id']} is disabled.\n"
    assert status(gateway, far["value"]) == 401


def test_a_token_out_of_its_place_proves_nothing_about_others(
    gateway: Gateway, made: dict[str, Any], report: Report
) -> None:
    far = gateway.create(name="far", policies=DNS, condition={"request_ip": {"in": ["203.0.113.0/24"]}})
    result = report(made["value"], ZONEGATE_TOKEN=far["value"])
    assert result.exit_code == 1
    assert "Cannot use the access token from location" in result.stderr
    assert status(gateway, made["value"]) == 200


def test_json_has_id_and_outcome_of_each_and_the_exit_code_says_that_one_was_unknown(
    gateway: Gateway, made: dict[str, Any], report: Report
) -> None:
    unknown = secret_of("0" * 32).reveal()
    result = report(f"{unknown}\n{made['value']}\n{unknown}\n", "--json", ZONEGATE_TOKEN=gateway.first)
    assert result.exit_code == 1
    assert json.loads(result.stdout) == [
        {"id": "0" * 32, "outcome": "unknown"},
        {"id": made["id"], "outcome": "disabled"},
    ]
    assert made["value"] not in result.output


def test_a_dead_secret_that_stands_before_it_saves_no_token(
    gateway: Gateway, made: dict[str, Any], report: Report
) -> None:
    new = gateway.call("PUT", f"/user/tokens/{made['id']}/value", json={}).json()["result"]
    result = report(f"{secret_of('0' * 32).reveal()} {made['value']} {new}")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"Token {'0' * 32} is unknown, or has another secret by now.",
        f"Token {made['id']} is unknown, or has another secret by now.",
        f"Token {made['id']} is disabled.",
    ]
    assert status(gateway, new) == 401


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("zgt_0123", id="no whole secret"),
        pytest.param(secret_of().reveal()[:-1] + "0", id="a wrong check"),
        pytest.param(secret_of().reveal() + "x", id="one that goes on"),
    ],
)
def test_a_text_without_a_secret_is_wrong_use_and_asks_nobody(report: Report, text: str) -> None:
    result = report(text, ZONEGATE_URL="http://127.0.0.1:1/client/v4")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("zonegate: standard input: ")


def test_help_has_an_example() -> None:
    result = CliRunner().invoke(app, ["token", "leaked", "--help"], env={"TERM": "dumb", "COLUMNS": "200"})
    assert "zonegate token leaked <" in result.stdout.partition("Example: ")[2]


def test_of_each_outcome_there_are_words() -> None:
    assert IN_WORDS.keys() == set(Outcome)
