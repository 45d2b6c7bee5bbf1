"""The root of the command: help, version, and `init`."""

import json
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from gateway import __version__
from gateway.cli.main import app
from gateway.tokens.secret import parse_secret


def commands() -> list[list[str]]:
    """Every command and subcommand, as arguments."""
    found: list[list[str]] = [[]]

    def walk(command: object, path: list[str]) -> None:
        for name, child in getattr(command, "commands", {}).items():
            found.append([*path, name])
            walk(child, [*path, name])

    walk(get_command(app), [])
    return found


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_explains_itself(path: list[str]) -> None:
    done = CliRunner().invoke(app, [*path, "--help"])
    assert done.exit_code == 0
    groups = [[], ["token"]]
    assert path in groups or "Example" in done.output
    assert "Usage: " in done.output


def test_the_version_is_the_packages() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"zonegate {__version__}\n"


def test_an_unknown_command_is_wrong_use() -> None:
    assert CliRunner().invoke(app, ["tokne"]).exit_code == 2


def config(directory: Path) -> str:
    file = directory / "zonegate.toml"
    file.write_text(f'[store]\ndata_dir = "{directory / "store"}"\n')
    return str(file)


def test_init_prints_the_first_token_once_with_a_line_to_test_it(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["init", "--config", config(tmp_path)])
    assert done.exit_code == 0, done.output
    secrets = [word.strip('"') for word in done.stdout.split() if word.startswith("zgt_")]
    assert len(set(secrets)) == 1
    assert parse_secret(secrets[0])
    assert "curl http://127.0.0.1:8080/client/v4/user/tokens/verify" in done.stdout


def test_init_gives_programs_the_token_as_the_api_does(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["init", "--config", config(tmp_path), "--json"])
    token = json.loads(done.stdout)
    credential = parse_secret(token["value"])
    assert credential is not None
    assert credential.token_id == token["id"]
    assert token["status"] == "active"
    assert [policy["permission_groups"][0]["name"] for policy in token["policies"]] == ["All Permissions"] * 3


def test_a_second_init_is_refused(tmp_path: Path) -> None:
    arguments = ["init", "--config", config(tmp_path)]
    CliRunner().invoke(app, arguments)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert done.stdout == ""
