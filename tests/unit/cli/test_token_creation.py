import os
import pty
import subprocess
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from support.processes import ZONEGATE, Gateway, free_port
from support.records import ACCOUNT_A, ZONE_A, ZONE_B, account, group_id, zone
from typer.testing import Result

from gateway.demo.dataset import ZONES
from gateway.tokens.resource import Scope

Run = Callable[..., Result]
DNS = ("--permission", "DNS Write", "--zone", ZONE_A)


@pytest.fixture
def count(gateway: Gateway) -> Callable[[], int]:
    """How many tokens there are."""

    def count() -> int:
        answer = gateway.call("GET", "/user/tokens?include_expired=true").json()
        return int(answer["result_info"]["total_count"])

    return count


def test_a_new_token_is_told_in_plain_words_and_its_secret_works(gateway: Gateway, run: Run) -> None:
    result = run("create", "--name", "ci [bold]\u202e", *DNS, "--ip", "127.0.0.0/8", "--expires", "2100-01-01", "--yes")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:5] == [
        'The token "ci [bold]\\u202e"',
        f"  may use DNS Edit on zone {ZONE_A}",
        "  only from 127.0.0.0/8",
        "  until 2100-01-01T00:00:00Z",
        "",
    ]
    secret = lines[7].strip()
    token_id = secret.split("_")[1]
    assert lines[5:] == [
        f"Created token {token_id}. Its secret:",
        "",
        f"    {secret}",
        "",
        "The secret is not shown again. Test it:",
        "",
        f'    curl {gateway.url}/user/tokens/verify -H "Authorization: Bearer {secret}"',
    ]
    verified = gateway.call("GET", "/user/tokens/verify", secret).json()
    assert (verified["success"], verified["result"]["id"]) == (True, token_id)


@pytest.mark.parametrize(
    ("flags", "key", "warning"),
    [
        pytest.param(["--zone", "alpha.example"], zone(ZONES["alpha.example"]), "", id="it has an id"),
        pytest.param(["--zone", "none.example"], zone("none.example"), "no zone of that name", id="nobody knows it"),
        pytest.param(["--zone", "alpha.example."], zone("alpha.example."), "", id="a name it is to be"),
        pytest.param(
            ["--zone", "alpha.example", "--api", "cloudflare-dns"], zone("alpha.example"), "", id="of one API"
        ),
    ],
)
def test_a_zone_that_is_named_is_taken_by_the_id_that_it_has(
    run: Run, flags: list[str], key: str, warning: str
) -> None:
    result = run("create", "--name", "named", "--permission", "DNS Read", *flags, "--yes", "--json")
    assert result.exit_code == 0
    assert [list(policy["resources"]) for policy in msgspec.json.decode(result.stdout)["policies"]] == [[key]]
    assert (warning in result.stderr) if warning else not result.stderr


def test_for_programs_the_token_is_as_the_api_gives_it(gateway: Gateway, run_json: Callable[..., Any]) -> None:
    made = run_json(
        "create", "--template", "edit ZONE dns", "--all-zones", "--account", ACCOUNT_A, "--except-zone", ZONE_B
    )
    assert gateway.call("GET", "/user/tokens/verify", made.pop("value")).json()["success"]
    assert made == gateway.call("GET", f"/user/tokens/{made['id']}").json()["result"]
    assert made["name"] == "Edit zone DNS"
    dns = [{"id": group_id("DNS Write"), "name": "DNS Write"}]
    assert [{key: policy[key] for key in policy if key != "id"} for policy in made["policies"]] == [
        {
            "effect": "allow",
            "permission_groups": dns,
            "resources": {account(ACCOUNT_A): {f"{Scope.ZONE}.*": "*"}},
        },
        {"effect": "deny", "permission_groups": dns, "resources": {zone(ZONE_B): "*"}},
    ]


def test_the_user_of_a_template_is_the_callers_own(gateway: Gateway, run_json: Callable[..., Any]) -> None:
    passed_on = ["--permission", "DNS Write", "--zone", ZONE_B]
    made = run_json("create", "--template", "Create additional tokens", *passed_on)
    owner = gateway.call("GET", f"/user/tokens/{made['id']}").json()["result"]["owner"]
    assert [list(policy["resources"]) for policy in made["policies"]] == [
        [zone(ZONE_B)],
        [f"{Scope.USER}.{owner['id']}"],
    ]


def test_the_summary_of_a_token_that_makes_tokens_says_what_it_passes_on(run: Run) -> None:
    passed_on = ["--permission", "DNS Write", "--zone", ZONE_B]
    result = run("create", "--template", "Create additional tokens", *passed_on, "--yes")
    assert result.exit_code == 0
    assert "may pass all of this, or a part of it, on to tokens that it makes, and nothing else" in result.stdout


def test_a_policy_may_be_kept_to_one_api(run_json: Callable[..., Any]) -> None:
    made = run_json("create", "--name", "x", *DNS, "--api", "cloudflare-dns")
    assert [policy["apis"] for policy in made["policies"]] == [["cloudflare-dns"]]


@pytest.mark.parametrize(
    "name",
    ["Read billing info", "WordPress", "Read all resources"],
)
def test_a_template_that_needs_nothing_chosen_is_a_token_by_itself(name: str, run_json: Callable[..., Any]) -> None:
    assert run_json("create", "--template", name)["name"] == name


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        pytest.param(["--template", "Edit"], ["--template: there is no template 'Edit'; there are: "], id="template"),
        pytest.param(["--template", "Edit zone DNS"], ["--template 'Edit zone DNS': it lies on a zone"], id="no zone"),
        pytest.param(["--name", "x"], ["--permission: missing"], id="no permission"),
        pytest.param(
            ["--template", "Create additional tokens"],
            ["--template 'Create additional tokens': say with --permission, and --zone"],
            id="nothing to pass on",
        ),
        pytest.param([*DNS], ["--name: give it one"], id="no name"),
        pytest.param(["--name", "x", *DNS, "--permission", "Nope"], ["--permission 'Nope': "], id="permission"),
        pytest.param(["--name", "x", *DNS, "--zone", "*"], ["--zone '*': "], id="zone"),
        pytest.param(["--name", "x", *DNS, "--ip", "10.0.0.1/8"], ["--ip '10.0.0.1/8': host bits are set"], id="ip"),
        pytest.param(["--name", "x", *DNS, "--expires", "never"], ["--expires 'never': not a moment"], id="expires"),
        pytest.param(
            ["--name", "x" * 121, *DNS, "--expires", "2020-01-01"],
            ["--name: a name has 1 to 120 characters", "--expires: in the past"],
            id="a line for each fault",
        ),
        pytest.param(["--name", "\udcff", *DNS], ["--name '\\udcff': not UTF-8"], id="not UTF-8"),
    ],
)
def test_wrong_use_is_said_by_flag_and_makes_no_token(
    arguments: list[str], lines: list[str], run: Run, count: Callable[[], int]
) -> None:
    before = count()
    result = run("create", *arguments, "--yes")
    assert (result.exit_code, result.stdout) == (2, "")
    said = result.stderr.splitlines()
    assert len(said) == len(lines)
    for line, expected in zip(said, lines, strict=True):
        assert line.startswith(f"zonegate: {expected}")
    assert count() == before


def test_without_a_terminal_nobody_is_asked_and_nothing_is_made(run: Run, count: Callable[[], int]) -> None:
    before = count()
    result = run("create", "--name", "x", *DNS)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("zonegate: standard input is no terminal")
    assert "--yes" in result.stderr
    assert count() == before


@pytest.mark.parametrize(
    ("answer", "code", "made", "last"),
    [
        pytest.param(b"y\n", 0, 1, "Authorization: Bearer", id="yes"),
        pytest.param(b"n\n", 1, 0, "Nothing was created.", id="no"),
        pytest.param(b"\n", 1, 0, "Nothing was created.", id="no word"),
        pytest.param(b"\x04", 1, 0, "Nothing was created.", id="end of input"),
    ],
)
def test_a_person_is_asked_before_anything_is_made(
    gateway: Gateway, count: Callable[[], int], *, answer: bytes, code: int, made: int, last: str
) -> None:
    before = count()
    person, terminal = pty.openpty()
    with subprocess.Popen(
        [ZONEGATE, "token", "create", "--name", "asked", *DNS],
        env=os.environ | {"ZONEGATE_URL": gateway.url, "ZONEGATE_TOKEN": gateway.first},
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(terminal)
        os.write(person, answer)
        stdout, stderr = process.communicate(timeout=20)
    os.close(person)
    assert process.returncode == code
    assert f"may use DNS Edit on zone {ZONE_A}\n  without an end\nCreate this token? [y/N]: " in stdout
    assert last in stdout.splitlines()[-1]
    assert "Traceback" not in stderr
    assert count() == before + made


def test_a_caller_without_the_right_is_refused_and_told_what_it_takes(gateway: Gateway, run: Run) -> None:
    weak = gateway.create(
        name="weak",
        policies=[
            {"effect": "allow", "permission_groups": [{"id": group_id("DNS Write")}], "resources": {zone(ZONE_A): "*"}}
        ],
    )
    result = run("create", "--name", "x", *DNS, "--yes", ZONEGATE_TOKEN=weak["value"])
    assert (result.exit_code, result.stdout) == (1, "")
    first, *rest = result.stderr.splitlines()
    assert first == "zonegate: Authentication error (code 10000)"
    assert any("API Tokens" in line for line in rest)


def test_nobody_there_is_one_line_with_url_and_remedy(zonegate: Run) -> None:
    url = f"http://127.0.0.1:{free_port()}/client/v4"
    result = zonegate("create", "--name", "x", *DNS, "--yes", env={"ZONEGATE_URL": url, "ZONEGATE_TOKEN": "zgt_secret"})
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"zonegate: {url}: no connection")
    assert len(result.stderr.splitlines()) == 1
