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
            "zonegate: Invalid request headers (code 6003): Invalid format (code 6111): "
            "ZONEGATE_TOKEN: set it to a secret as it was shown: zgt_<32 hex>_<49 letters and digits>\n",
            id="an error with its cause, and what mends it",
        ),
        pytest.param(
            Refused(403, [Note("a", 10000), Note("b", 10000)], [Note("This needs DNS Read", 10000)]),
            1,
            "zonegate: a (code 10000)\nzonegate: b (code 10000)\nzonegate: This needs DNS Read (code 10000): "
            "set ZONEGATE_TOKEN to a token that may, or have its holder make you one\n",
            id="what mends two errors is said once",
        ),
        pytest.param(
            KeyboardInterrupt(),
            130,
            "zonegate: interrupted: a change may have been made or not; look before you repeat it\n",
            id="Ctrl-C",
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
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, answered():
        raise error
    assert ended.value.exit_code == code
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize(
    ("status", "code", "named"),
    [
        pytest.param(401, 1000, "ZONEGATE_TOKEN", id="a token that is dead"),
        pytest.param(403, 9109, "`zonegate token edit ID --ip CIDR`", id="another address"),
        pytest.param(404, 7003, "ZONEGATE_URL", id="another prefix"),
    ],
)
def test_the_last_line_names_what_mends_it(
    status: int, code: int, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit), answered():
        raise Refused(status, [Note("no", code)], [])
    assert named in capsys.readouterr().err.splitlines()[-1]


def test_text_that_is_not_utf_8_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, answered():
        msgspec.json.encode({"name": "\udcff"})
    assert ended.value.exit_code == 2
    assert capsys.readouterr() == ("", "zonegate: '\\udcff': not UTF-8\n")


def test_each_line_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        fail_all(["one", "two"])
    assert capsys.readouterr().err == "zonegate: one\nzonegate: two\n"
