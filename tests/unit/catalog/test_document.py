from typing import Annotated

import msgspec
import pytest

from gateway.catalog.document import CatalogError, CatalogFault, Gathered, in_words, parse_toml, read_document


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    port: int


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    listen: Inner | None = None
    route: tuple[Inner, ...] = ()


def test_a_text_of_the_right_shape_is_read() -> None:
    text = 'name = "a"\n[listen]\nport = 1\n[[route]]\nport = 2\n[[route]]\nport = 3\n'
    assert read_document("a.toml", text, Document) == Document("a", Inner(1), (Inner(2), Inner(3)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("name = ", ["not TOML"], id="no TOML"),
        pytest.param('name = "a"\nname = "b"\n', ["not TOML"], id="a key twice"),
        pytest.param("", ["`name`"], id="a key is missing"),
        pytest.param("name = 7\n", ["name: ", "`str`", "`int`"], id="a wrong type"),
        pytest.param('name = ""\n', ["name: "], id="out of bounds"),
        pytest.param('name = "a"\nnames = "b"\n', ["names: unknown key"], id="an unknown key"),
        pytest.param('name = "a"\n[listen]\nport = "1"\n', ["listen.port: "], id="a wrong type inside"),
        pytest.param(
            'name = "a"\n[listen]\nport = 1\nhost = ""\n', ["listen.host: unknown key"], id="an unknown key inside"
        ),
        pytest.param(
            'name = "a"\n[[route]]\nport = 1\n[[route]]\nport = 1.5\n',
            ["route[1].port: "],
            id="a wrong type in a list",
        ),
    ],
)
def test_an_error_names_the_file_and_the_key_in_one_line(text: str, says: list[str]) -> None:
    with pytest.raises(CatalogError) as raised:
        read_document("apis/a.toml", text, Document)
    message = str(raised.value)
    assert message.startswith("apis/a.toml: ")
    assert "\n" not in message
    for word in says:
        assert word in message


def test_the_key_comes_first_in_words() -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert({"name": "a", "listen": {"port": "x"}}, Document)
    assert in_words(raised.value) == "listen.port: Expected `int`, got `str`"


def test_an_error_without_a_key_stays_as_it_is() -> None:
    assert in_words(msgspec.ValidationError("Object missing required field `name`")) == (
        "Object missing required field `name`"
    )


def test_a_table_is_read_as_it_stands() -> None:
    assert parse_toml("a.toml", "[a]\nb = [1, 2]\n") == {"a": {"b": [1, 2]}}


def faults_of(text: str) -> list[tuple[str, str]]:
    with pytest.raises(CatalogError) as raised:
        read_document("apis/a.toml", text, Document)
    return [(fault.key, fault.message) for fault in raised.value.faults]


def test_all_faults_of_a_text_are_told_at_once() -> None:
    text = 'names = "b"\n[listen]\nport = "1"\n[[route]]\nport = 1\nx = 1\n[[route]]\n[[route]]\nport = 1.5\n'
    assert [key for key, _ in faults_of(text)] == [
        "names",
        "listen.port",
        "route[0].x",
        "route[1]",
        "route[2].port",
        "",
    ]
    assert faults_of(text)[-1][1] == "Object missing required field `name`"


def test_an_error_says_its_first_fault_and_how_many_more_there_are() -> None:
    error = CatalogError.of([CatalogFault("a.toml", "bad", "x", 7), CatalogFault("b.toml", "worse")])
    assert str(error) == "a.toml: bad (line 7); and 1 more: see `zonegate policy check`"
    assert str(CatalogError("a.toml", "bad")) == "a.toml: bad"


def test_what_is_gathered_has_its_line_where_its_file_tells_it() -> None:
    gathered = Gathered({"a.toml": "\n[[route]]\n[[route]]\npath = 1\n"})
    for raised in (
        CatalogError("a.toml", "one", "route[1].path"),
        CatalogError("a.toml", "two", line=9),
        CatalogError("a.toml", "three"),
        CatalogError("b.toml", "four", "route[0]"),
    ):
        with gathered.faults():
            raise raised
    with pytest.raises(CatalogError) as caught:
        gathered.end()
    assert [(fault.message, fault.line) for fault in caught.value.faults] == [
        ("one", 4),
        ("two", 9),
        ("three", 0),
        ("four", 0),
    ]


def test_where_nothing_was_raised_nothing_is_gathered() -> None:
    gathered = Gathered({})
    with gathered.faults():
        pass
    gathered.end()


def test_toml_that_is_nested_too_deeply_is_an_error_like_any() -> None:
    with pytest.raises(CatalogError, match=r"^a\.toml: not TOML"):
        parse_toml("a.toml", "a = " + "[" * 10_000 + "]" * 10_000)
