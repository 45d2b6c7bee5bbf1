import msgspec
import pytest
import typer

from gateway.cli.address import BadAddress
from gateway.cli.answer import Note
from gateway.cli.client import NoAnswer, Refused
from gateway.cli.refusal import answered, fail_all
from gateway.cli.token_flag import WrongUse
from gateway.settings import SettingsError


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        pytest.param(WrongUse("--zone: wrong"), 2, "zonegate: --zone: wrong\n", id="flags"),
        pytest.param(BadAddress("ZONEGATE_TOKEN: not set"), 2, "zonegate: ZONEGATE_TOKEN: not set\n", id="variables"),
        pytest.param(SettingsError("listen.port: wrong"), 2, "zonegate: listen.port: wrong\n", id="settings"),
        pytest.param(NoAnswer("http://x: no connection"), 1, "zonegate: http://x: no connection\n", id="no answer"),
        pytest.param(
            Refused(404, [Note("There is no such token", 10404)], []),
            1,
            "zonegate: There is no such token (code 10404)\n",
            id="a refusal",
        ),
        pytest.param(
            Refused(
                400,
                [Note("unknown field", 10400, Note.Source("/a")), Note("missing", 10400, Note.Source(""))],
                [Note("see the documentation", 1)],
            ),
            1,
            "zonegate: unknown field (code 10400, at /a)\n"
            "zonegate: missing (code 10400)\n"
            "zonegate: see the documentation (code 1)\n",
            id="a line for each error, then for each message",
        ),
        pytest.param(
            Refused(400, [Note("Invalid request headers", 6003, None, (Note("Invalid format", 6111),))], []),
            1,
            "zonegate: Invalid request headers (code 6003): Invalid format (code 6111)\n",
            id="an error with its cause",
        ),
        pytest.param(Refused(500, [], []), 1, "zonegate: refused with status 500\n", id="without a word"),
        pytest.param(
            Refused(400, [Note("a\x1b[2J\nb\u202e", 1)], []),
            1,
            "zonegate: a\\u001b[2J\\u000ab\\u202e (code 1)\n",
            id="words that a terminal would obey",
        ),
    ],
)
def test_what_stops_a_command_is_lines_and_an_exit_code(
    error: Exception, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, answered():
        raise error
    assert ended.value.exit_code == code
    assert capsys.readouterr() == ("", said)


def test_text_that_is_not_utf_8_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, answered():
        msgspec.json.encode({"name": "\udcff"})
    assert ended.value.exit_code == 2
    assert capsys.readouterr() == ("", "zonegate: '\\udcff': not UTF-8\n")


def test_each_line_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        fail_all(["one", "two"])
    assert capsys.readouterr().err == "zonegate: one\nzonegate: two\n"
