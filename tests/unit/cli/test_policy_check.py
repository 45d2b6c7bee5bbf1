import json
from pathlib import Path
from shutil import copytree

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import app
from gateway.cli.policy_check import judge
from gateway.cli.policy_set import read_set
from gateway.policy_files import policy_root

BAD_GROUP = 'permission = ["Bill Write"]'


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the policies in the package, beside which there are no settings."""
    copytree(policy_root(""), tmp_path / "policies")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "policies"


def check(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["policy", "check", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def line_of(path: Path, text: str) -> int:
    return path.read_text().split(text)[0].count("\n") + 1


def test_the_shipped_policies_have_no_errors_and_no_warnings() -> None:
    assert judge(read_set(""), "/client/v4") == ([], [])


def test_policies_without_errors_are_said_to_have_none(directory: Path) -> None:
    result = check("policies")
    assert (result.exit_code, result.output) == (0, "policies: no errors, no warnings\n")
    assert directory.is_dir()


def test_without_a_directory_it_is_the_one_of_the_settings(directory: Path) -> None:
    Path("zonegate.toml").write_text(f"policies.dir = '{directory}'")
    (directory / "apis" / "broken.toml").write_text("name =")
    assert f"{directory}/apis/broken.toml:1: " in check().stdout


def test_all_errors_are_printed_each_with_file_and_line(directory: Path) -> None:
    billing = directory / "apis" / "billing.toml"
    change(billing, 'permission = ["Billing Write"]', BAD_GROUP)
    change(billing, "/user/billing/history", "/user/tokens/history")
    change(directory / "templates.toml", '"DNS Write"', '"DNS Writ"')
    (directory / "apis" / "broken.toml").write_text('name = "broken"\nprefix =\n')
    result = check("policies")
    assert result.exit_code == 1
    places = [line.partition(": ")[0] for line in result.stdout.splitlines()]
    assert places == [
        f"policies/templates.toml:{line_of(directory / 'templates.toml', 'permission_groups = [')}",
        f"policies/apis/billing.toml:{line_of(billing, BAD_GROUP)}",
        f"policies/apis/billing.toml:{line_of(billing, '/user/tokens/history') - 2}",
        "policies/apis/broken.toml:2",
    ]
    assert result.stderr == "policies: 4 errors, no warnings\n"


def test_json_has_the_same(directory: Path) -> None:
    (directory / "apis" / "broken.toml").write_text('name = "broken"\nprefix =\n')
    (directory / "others.toml").write_text("")
    result = check("policies", "--json")
    assert result.exit_code == 1
    shown = json.loads(result.stdout)
    assert [(fault["file"], fault["line"]) for fault in shown["errors"]] == [("apis/broken.toml", 2)]
    assert [(fault["file"], fault["line"]) for fault in shown["warnings"]] == [("others.toml", 0)]


def test_a_read_that_opens_what_its_write_does_not_is_a_warning(directory: Path) -> None:
    path = directory / "apis" / "cloudflare-dns.toml"
    change(path, 'permission = ["DNS Read", "DNS Write"]', 'permission = ["DNS Read"]')
    result = check("policies")
    line = line_of(path, 'permission = ["DNS Read"]')
    assert result.exit_code == 0
    assert result.stdout.startswith(f"policies/apis/cloudflare-dns.toml:{line}: warning: ")
    assert "DNS Read opens it, and DNS Write does not" in result.stdout


def test_a_read_without_a_write_is_none(directory: Path) -> None:
    assert 'permission = ["User Billing Read"]' in (directory / "apis" / "billing.toml").read_text()
    assert check("policies").stdout == "policies: no errors, no warnings\n"


def test_a_deny_in_a_case_that_leaves_write_is_a_warning(directory: Path) -> None:
    change(directory / "tests" / "zones.toml", "leaves_write = true\n", "")
    result = check("policies")
    assert result.exit_code == 0
    assert "DNS Read is taken away, but not DNS Write, which reads too" in result.stdout


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"[[case]]\nname = 'a'\n", "case[0]: Object missing required field", id="a case that is none"),
        pytest.param(b"[[case]\n", "not TOML", id="no TOML"),
        pytest.param(b"\xff", "not UTF-8", id="not UTF-8"),
    ],
)
def test_files_of_cases_are_checked_too(directory: Path, content: bytes, says: str) -> None:
    (directory / "tests" / "bad.toml").write_bytes(content)
    result = check("policies")
    assert result.exit_code == 1
    assert "policies/tests/bad.toml" in result.stdout
    assert says in result.stdout


def test_what_is_no_directory_of_policies_is_wrong_use(directory: Path) -> None:
    result = check(str(directory / "nothing"))
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
