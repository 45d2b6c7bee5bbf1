import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.printable import counted, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("Zone für Köln 東京 🙂", "Zone für Köln 東京 🙂", id="what a person writes stays"),
        pytest.param("a\x1b[31mb", "a\\u001b[31mb", id="an escape sequence"),
        pytest.param("a\r\nb\x00\x7f\x9b", "a\\u000d\\u000ab\\u0000\\u007f\\u009b", id="control characters"),
        pytest.param("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066", id="bidirectional controls"),
        pytest.param("a\u200bb\ufeff", "a\\u200bb\\ufeff", id="zero width"),
        pytest.param("a\u2028b", "a\\u2028b", id="a line separator"),
        pytest.param("\udcff", "\\udcff", id="a byte that is not UTF-8"),
        pytest.param("\U000e0041", "\\U000e0041", id="a tag beyond the basic plane"),
        pytest.param("[bold]x[/bold]", "[bold]x[/bold]", id="markup is rich's matter"),
    ],
)
def test_a_terminal_obeys_nothing_of_it(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_what_is_shown_is_one_line_that_any_utf8_terminal_takes(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in shown)


@pytest.mark.parametrize(("number", "said"), [(0, "0 routes"), (1, "1 route"), (2, "2 routes")])
def test_what_is_counted_is_one_or_many(number: int, said: str) -> None:
    assert counted(number, "route") == said
