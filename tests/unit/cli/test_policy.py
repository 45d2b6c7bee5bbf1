import pytest
from typer.testing import CliRunner

from gateway.cli.main import app


def test_without_a_command_the_help_is_printed_and_it_is_wrong_use() -> None:
    result = CliRunner().invoke(app, ["policy"])
    assert result.exit_code == 2
    for command in ("check", "explain", "test", "import-openapi"):
        assert command in result.stdout


@pytest.mark.parametrize("command", ["check", "explain", "test", "import-openapi"])
def test_each_command_says_in_its_help_how_it_is_typed(command: str) -> None:
    result = CliRunner().invoke(app, ["policy", command, "--help"])
    assert result.exit_code == 0
    assert f"zonegate policy {command}" in result.stdout
