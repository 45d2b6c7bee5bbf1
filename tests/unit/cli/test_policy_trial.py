import json
from pathlib import Path
from shutil import copytree

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import app
from gateway.policy_files import policy_root

CASE = """
[[case]]
name = "{name}"
token = [{{ allow = ["DNS Read"], on = ["zone:*"] }}]
request = "GET /client/v4/zones/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/dns_records"
expect = "{expect}"
"""
GOOD = CASE.format(name="good", expect="allow")
BAD = CASE.format(name="bad", expect="forbidden")


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the policies in the package, with two cases of its own."""
    copytree(policy_root(""), tmp_path / "policies")
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "policies" / "tests").glob("*.toml"):
        path.unlink()
    (tmp_path / "policies" / "tests" / "good.toml").write_text(GOOD)
    (tmp_path / "policies" / "tests" / "mixed.toml").write_text(GOOD + BAD)
    return tmp_path / "policies"


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["policy", "test", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_the_shipped_cases_hold_without_an_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run()
    assert result.exit_code == 0
    assert result.stdout.endswith(" cases, none failed\n")


@pytest.mark.usefixtures("directory")
def test_cases_that_hold_are_counted() -> None:
    result = run("policies/tests/good.toml")
    assert (result.exit_code, result.output) == (0, "1 case, none failed\n")


@pytest.mark.usefixtures("directory")
def test_a_case_that_fails_is_a_line_with_what_came_instead() -> None:
    result = run("policies/tests/good.toml", "policies/tests/mixed.toml")
    assert result.exit_code == 1
    assert result.stdout == (
        "policies/tests/mixed.toml:8: case 'bad': expected forbidden, and it is allow\n3 cases, 1 failed\n"
    )


@pytest.mark.usefixtures("directory")
def test_json_has_the_same() -> None:
    result = run("policies/tests/mixed.toml", "--json")
    assert result.exit_code == 1
    (failed,) = json.loads(result.stdout)["failed"]
    assert failed == {
        "file": "policies/tests/mixed.toml",
        "line": 8,
        "name": "bad",
        "expected": "forbidden",
        "outcome": "allow",
    }


def test_cases_are_judged_by_the_policies_that_they_stand_beside(directory: Path) -> None:
    path = directory / "apis" / "cloudflare-dns.toml"
    path.write_text(path.read_text().replace('["DNS Read", "DNS Write"]', '["DNS Write"]'))
    assert "and it is forbidden" in run("policies/tests/good.toml").stdout


def test_or_by_those_that_are_named(directory: Path, tmp_path: Path) -> None:
    path = directory / "apis" / "cloudflare-dns.toml"
    path.write_text(path.read_text().replace('["DNS Read", "DNS Write"]', '["DNS Write"]'))
    elsewhere = tmp_path / "cases.toml"
    elsewhere.write_text(GOOD)
    assert run(str(elsewhere)).exit_code == 0
    assert run(str(elsewhere), "--dir", str(directory)).exit_code == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("[[case]", "not TOML", id="no TOML"),
        pytest.param("[[case]]\n", "missing required field", id="no case"),
        pytest.param(None, "no such file", id="no file"),
    ],
)
@pytest.mark.usefixtures("directory")
def test_what_cannot_be_judged_is_wrong_use_in_one_line(text: str | None, says: str) -> None:
    path = Path("policies/tests/broken.toml")
    if text is not None:
        path.write_text(text)
    result = run(str(path))
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_directory_in_the_place_of_a_file_is_told_its_flag(directory: Path) -> None:
    result = run(str(directory))
    assert result.exit_code == 2
    assert result.stderr == f"zonegate: '{directory}': not a file of cases; --dir names a directory of policies\n"


def test_broken_policies_judge_nothing(directory: Path) -> None:
    (directory / "apis" / "broken.toml").write_text("name =")
    result = run("policies/tests/good.toml")
    assert result.exit_code == 2
    assert "apis/broken.toml" in result.stderr


def test_a_set_without_cases_says_so(directory: Path) -> None:
    for path in (directory / "tests").glob("*.toml"):
        path.unlink()
    result = run("--dir", str(directory))
    assert result.exit_code == 2
    assert "there is no file of cases" in result.stderr
