import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog.line import TableLines, line_of_broken_toml

TEXT = '''# a comment with [[route]]
name = "a"    # and one behind
v = { a = "b", c = ["d]",
  "e"] }
text = """
[[route]]
x = 1 \\"""
"""
literal = \'\'\'
[no]
\'\'\'

[resolver.zone]
path = "x"

[[route]]
path = "[a]"
list = [
  "a",   # [
  "b",
]
[[ route ]]   # spaced
"path" = "b"
[[route.sub]]
k.l = 1
[[route.sub]]
k = 1
'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        pytest.param("name", 2, id="a key"),
        pytest.param("v", 3, id="an inline table"),
        pytest.param("v.c", 3, id="a key in an inline table: the table's line"),
        pytest.param("text", 5, id="a text of several lines"),
        pytest.param("literal", 9, id="a literal one"),
        pytest.param("resolver.zone", 13, id="a table"),
        pytest.param("resolver.zone.path", 14, id="a key of a table"),
        pytest.param("route[0]", 16, id="the first of a list of tables"),
        pytest.param("route[0].list", 18, id="a key of it"),
        pytest.param("route[0].list[1]", 18, id="an item of a list"),
        pytest.param("route[0].missing", 16, id="a key that is not there"),
        pytest.param("route[1]", 22, id="the second"),
        pytest.param("route[1].path", 23, id="a key in quotes"),
        pytest.param("route[1].sub[0].k.l", 25, id="a dotted key in a list in a list"),
        pytest.param("route[1].sub[1].k", 27, id="the next one of that"),
        pytest.param("nothing", 1, id="what is nowhere"),
        pytest.param("", 1, id="the whole"),
    ],
)
def test_a_key_stands_in_a_line(key: str, line: int) -> None:
    tomllib.loads(TEXT)
    assert TableLines(TEXT).of(key) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("a = 1\nb =\n", 2, id="in a line"),
        pytest.param("a = 1\n\nb = [1,\n", 3, id="at the end"),
        pytest.param("a = [", 1, id="at the end of the only line"),
    ],
)
def test_the_line_of_what_is_no_toml_is_told(text: str, line: int) -> None:
    with pytest.raises(tomllib.TOMLDecodeError) as raised:
        tomllib.loads(text)
    assert line_of_broken_toml(str(raised.value), text) == line


VALUES = st.one_of(
    st.just('"[[route]]"'), st.just("'''\n[[route]]\n'''"), st.just('"""\nx = 1\n"""'), st.just("[\n 1, # ]\n 2\n]")
)


@given(st.lists(st.lists(VALUES, max_size=3), min_size=1, max_size=6))
def test_each_table_of_a_list_is_found_whatever_stands_before_it(tables: list[list[str]]) -> None:
    lines: list[str] = []
    places: dict[str, int] = {}
    for index, values in enumerate(tables):
        places[f"route[{index}]"] = len(lines) + 1
        lines.append("[[route]]")
        for number, value in enumerate(values):
            places[f"route[{index}].k{number}"] = len(lines) + 1
            lines += f"k{number} = {value}".split("\n")
    text = "\n".join(lines)
    tomllib.loads(text)
    found = TableLines(text)
    assert {key: found.of(key) for key in places} == places


@given(st.text())
def test_lines_of_any_text_are_lines_of_it(text: str) -> None:
    found: Any = TableLines(text)
    assert 1 <= found.of("route[0].path") <= text.count("\n") + 1
