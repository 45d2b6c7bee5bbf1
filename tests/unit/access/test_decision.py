import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.records import CATALOG, NOW, principal

import gateway
from gateway.access.decide import decide
from gateway.access.decision import Allow
from gateway.access.question import Question
from gateway.catalog.target import Target

ROOT = Path(gateway.__file__).parent


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def named(node: ast.AST | None) -> str:
    """The last name of what is called or handed over: `Allow` of `decision.Allow(...)` too."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


@pytest.mark.parametrize(("made", "maker"), [("Allow", "access/decide.py"), ("Principal", "access/principal.py")])
def test_only_one_file_makes_it(made: str, maker: str) -> None:
    makers = {
        file
        for file, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and named(node.func) == made
    }
    assert makers == {maker}


@pytest.mark.parametrize("made", ["Allow", "Principal"])
def test_nobody_gives_it_another_name_under_which_to_make_it(made: str) -> None:
    for file, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert all(alias.asname is None for alias in node.names if alias.name == made), file
            if isinstance(node, ast.Assign):
                assert not (isinstance(node.value, ast.Name) and node.value.id == made), file


@pytest.mark.parametrize("made", ["Allow", "Principal"])
def test_nobody_lets_a_library_make_it(made: str) -> None:
    """`msgspec.convert(x, Allow)`, a decoder, `replace(allow, ...)`: ways to one that no check has passed."""
    for file, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and named(node.func) in {"convert", "decode", "Decoder"}:
                handed = [*node.args, *(keyword.value for keyword in node.keywords)]
                assert not any(isinstance(one, ast.Name) and one.id == made for one in handed), file
            if isinstance(node, ast.Call) and named(node.func) == "replace":
                first = node.args[0] if node.args else None
                assert named(first) != made.lower(), file


def test_an_allow_cannot_be_turned_to_another_target() -> None:
    target = Target((b"client", b"v4", b"user", b"tokens", b"verify"))
    found = decide(Question(principal(), None, target, CATALOG.public.match("GET", target.segments), NOW))
    assert isinstance(found, Allow)
    assert found.target is target
    with pytest.raises(AttributeError):
        found.target = Target((b"b",))  # type: ignore[misc]
