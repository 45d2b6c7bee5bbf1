from typing import Annotated

import msgspec
import pytest

from gateway.catalog.document import CatalogError, in_words, parse_toml, read_document


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
