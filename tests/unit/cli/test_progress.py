import io
import sys

import pytest

from gateway.cli.progress import bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_bar_grows_on_standard_error_and_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with bar("Copying") as progress:
        progress(5, 10)
    assert "Copying" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[2K")


@pytest.mark.parametrize("stream", [pytest.param(io.StringIO(), id="a file"), pytest.param(None, id="none")])
def test_without_a_terminal_there_is_no_bar(
    stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    with bar("Copying") as progress:
        progress(5, 10)
    assert stream is None or stream.getvalue() == ""
    assert capsys.readouterr().out == ""
